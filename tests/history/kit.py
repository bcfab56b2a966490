"""A home with a real event and real rounds of several contributors, made without training: payloads of random updates."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from store_samples import draft
from torch import Tensor

from collab import kernels
from collab.kernels.merge import Contribution as MergeContribution
from collab.kernels.merge import merge
from collab.kernels.outer import sgd
from collab.node.event.create import create_event
from collab.node.home import Home
from collab.node.store import Store
from collab.node.trainer.start import first_state
from collab.node.trainer.state import SharedState
from collab.protocol.commit import Accepted, Commit, Rejected
from collab.protocol.event import EventDraft, EventManifest
from collab.protocol.identity import Identity
from collab.protocol.messages import Blob, Contribution, Signed

ALICE, BOB, CAROL = (Identity(bytes(31) + bytes([number])) for number in (7, 8, 9))
SEED = 5
CODEC = kernels.Codec("sparse", 64, 2)


@dataclass
class World:
    """An event in a home, its store, and the state after each commit that was made here."""

    home: Home
    event: EventManifest
    store: Store
    states: dict[bytes, SharedState]

    @property
    def head(self) -> Commit:
        """The newest commit of main."""
        return self.store.head_commit()

    def round(
        self, *who: Identity, on: Commit | None = None, seed: int = 0, only: str = "", main: bool = True, **changes: Any
    ) -> Commit:
        """Add a commit in which these took part in equal shares; `only`: nothing but this tensor is touched."""
        base = on or self.head
        state = self.states[base.digest]
        claims = sorted(
            (self._claim(base, identity, seed + at, only) for at, identity in enumerate(who)), key=lambda claim: claim[0].digest
        )
        parts = [MergeContribution(payload, 1 / len(who)) for _, payload in claims]
        method, policy = self.event.merge.method, self.event.merge
        update = merge(method, kernels.Layout.of(state.weights), parts, cap=policy.cap, damping=policy.damping)
        after = SharedState(sgd(state.weights, update, rate=self.event.outer.rate))
        accepted = tuple(
            Accepted(envelope=signed.encode(), numerator=b"\1", denominator=bytes([len(who)]), clip=1.0) for signed, _ in claims
        )
        fields: dict[str, Any] = {
            "event": self.event.digest, "parents": (base.digest,), "round": base.round + 1, "state": after.hash(),
            "method": method, "full": False, "accepted": accepted,
            "rejected": (), "departed": (), "roster": base.roster, "samples": base.samples + 8 * len(who), "loss": 3.0,
            "proposer": self.event.coordinator, "time": base.time + 60, "parent_certificate": None,
        }  # fmt: skip
        commit = Commit(**(fields | changes))
        self.states[commit.digest] = after
        self.store.add_commit(commit)
        if main:
            self.store.set_head(commit.digest)
        return commit

    def _claim(self, base: Commit, identity: Identity, seed: int, only: str) -> tuple[Signed, bytes]:
        payload, _ = kernels.compress(self.update(base, seed, only), None, CODEC)
        blob = Blob(sha256=self.store.blobs.put_bytes(payload), size=len(payload))
        said = Contribution(
            event=self.event.digest, base=base.digest, round=base.round, payload=blob, fisher=None, samples=8, steps=2,
            loss=3.0, admission=None,
        )  # fmt: skip
        return Signed.seal(identity, said), payload

    def update(self, base: Commit, seed: int, only: str = "") -> dict[str, Tensor]:
        """A pseudo-gradient like no other."""
        generator = torch.Generator().manual_seed(1000 * base.round + seed)
        weights = self.states[base.digest].weights
        drawn = {name: 1e-3 * torch.randn(weight.shape, generator=generator) for name, weight in weights.items()}
        return {name: tensor if only in ("", name) else torch.zeros_like(tensor) for name, tensor in drawn.items()}

    def rejection(self, identity: Identity, reason: str = "payload_size") -> Rejected:
        """A contribution that was left out of the next commit."""
        signed, _ = self._claim(self.head, identity, 99, "")
        return Rejected(envelope=signed.encode(), reason=reason)


def make_world(path: Path, event_draft: EventDraft | None = None) -> World:
    """Create an event in a home and open its store for writing."""
    home = Home(path)
    event = create_event(home, event_draft or draft(), seed=SEED)
    store = Store.open(home.event(event.digest).store_path)
    return World(home, event, store, {store.head_commit().digest: first_state(event, seed=SEED)})
