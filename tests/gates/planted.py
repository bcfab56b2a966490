"""An event that begins with the planted world's base, and plants as proposals in its coordinator's store; nobody trains again."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from bench_gates.plants import plant
from bench_gates.world import Weights, World
from safetensors.torch import save_file

from collab.kernels.change import smallest
from collab.node.event.create import create_event
from collab.node.home import Home
from collab.node.keys import create, load
from collab.node.proposals.board import keep
from collab.node.settings import Settings
from collab.node.store import Proposed, Store
from collab.protocol.commit import Commit
from collab.protocol.event import EventDraft, EventManifest
from collab.protocol.identity import Identity
from collab.protocol.messages import Blob, Signed
from collab.protocol.proposal import ModelProposal
from collab.protocol.record import sha256

COORDINATOR = Identity(bytes(31) + b"\x54")
MAKER = Identity(bytes(31) + b"\x55")


@dataclass
class Planted:
    """The coordinator's home; `ids` are the proposals, by kind."""

    home: Home
    event: EventManifest
    settings: Settings
    ids: dict[str, str]

    @property
    def identity(self) -> Identity:
        """The coordinator."""
        return load(self.home.identity_path)

    @property
    def path(self) -> Path:
        """The store's folder."""
        return self.home.event(self.event.digest).store_path

    def store(self) -> Store:
        """Open the store."""
        return Store.open(self.path)

    def chosen(self, store: Store, *kinds: str) -> list[Proposed]:
        """The proposals of these kinds, in the order of their ids."""
        wanted = {self.ids[kind] for kind in kinds}
        return sorted((each for each in store.proposals.all() if each.digest.hex() in wanted), key=lambda each: each.digest)


def make_planted(world: World, folder: Path, kinds: dict[str, int], **changes: Any) -> Planted:
    """Make the event and a proposal a kind, with these seeds."""
    base = folder / "base.safetensors"
    save_file(world.base, base)
    fields = {name: getattr(world.event, name) for name in EventDraft.model_fields}
    home = Home(folder / "home")
    home.prepare()
    create(home.identity_path, COORDINATOR)
    event = create_event(home, EventDraft(**(fields | changes)), checkpoint=base)
    settings = Settings(home=home.path, data_dir=world.folder, cache_dir=world.folder / "cache", device="cpu", threads=1)
    made = Planted(home, event, settings, {})
    with made.store() as store:
        for kind, seed in kinds.items():
            made.ids[kind] = _propose(store, store.head_commit(), world, kind, seed)
    return made


@cache
def _weights(world: World, kind: str, seed: int) -> Weights:
    """Plants are trained once, for however many events."""
    return plant(kind, world, seed).weights


def _propose(store: Store, root: Commit, world: World, kind: str, seed: int) -> str:
    weights = _weights(world, kind, seed)
    encoded = smallest({name: world.base[name] - weights[name] for name in weights}, 0.02)
    said = ModelProposal(
        event=root.event, base=root.digest, form=encoded.form, error=encoded.error, samples=100, message=kind, time=seed,
        payload=Blob(sha256=sha256(encoded.payload), size=len(encoded.payload)),
    )  # fmt: skip
    signed = Signed.seal(MAKER, said)
    keep(store, signed, encoded.payload)
    return signed.digest.hex()
