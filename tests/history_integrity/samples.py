"""A history of three contributors on a tiny model: five rounds, a snapshot every second one."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

from event_kit import draft_fields
from history_integrity.kills import killed_at

from collab.node.home import EventFolder, Home
from collab.node.keys import load
from collab.node.rounds.catch_up import restore_history
from collab.node.store import Store
from collab.protocol.commit import Commit
from collab.protocol.event import Data, EventDraft, EventManifest, GptModel, InnerOptimiser, OuterOptimiser, Rounds
from collab.protocol.gates import refusal_of
from collab.protocol.identity import Identity
from collab.protocol.merging import make_draft
from collab.protocol.messages import Blob, Contribution, Signed

__all__ = ["ROUNDS", "Sample", "carry", "draft", "killed_at", "make_sample"]

ROUNDS = 5


@dataclass(frozen=True)
class Sample:
    """A home with a history in it, and the folder of the event's data."""

    path: Path
    data: Path

    @property
    def home(self) -> Home:
        return Home(self.path)

    @property
    def folder(self) -> EventFolder:
        return self.home.find_event()

    @cached_property
    def event(self) -> EventManifest:
        return self.folder.manifest().open()

    @property
    def identity(self) -> Identity:
        return load(self.home.identity_path)

    def store(self, *, read_only: bool = False) -> Store:
        return Store.open(self.folder.store_path, read_only=read_only)

    def commit(self, round: int) -> Commit:
        with self.store(read_only=True) as store:
            digest = store.at_round(round)
            assert digest is not None
            return store.commit(digest)

    def snapshot(self, round: int) -> bytes:
        with self.store(read_only=True) as store:
            blob = store.snapshot_of(self.commit(round).digest)
            assert blob is not None
            return blob

    def blob_path(self, digest: bytes) -> Path:
        return self.folder.store_path / "blobs" / digest.hex()[:2] / digest.hex()[2:]

    def flip(self, digest: bytes, offset: int) -> None:
        """Change one byte of a blob."""
        path = self.blob_path(digest)
        data = bytearray(path.read_bytes())
        data[offset] ^= 1
        path.write_bytes(data)


def draft(**parts: Any) -> EventDraft:
    """The tiny event."""
    fields = draft_fields(
        name="tiny", model=GptModel(family="gpt", layers=1, width=32, heads=2),
        data=Data(source="text", path="text.txt", block=16, held_out=0.1, held_out_samples=8),
        inner=InnerOptimiser(batch=4, steps=3, rate=1e-2, total_samples=1000), outer=OuterOptimiser(rate=1.0),
        rounds=Rounds(snapshot_every=2, max_staleness=1),
    )  # fmt: skip
    return EventDraft(**(fields | parts))


def make_sample(folder: Path, rounds: int = ROUNDS, *, broken: int = 0, **parts: Any) -> Sample:
    """Make the history; contributor 2 sits out round 3, and sends noise in round `broken`."""
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "text.txt").write_text(_text())
    sample = Sample(folder / "home", folder / "data")
    local_run = import_module("bench_history.local_run")
    local = local_run.LocalRun(sample.home, draft(**parts), 3, sample.data)
    for number in range(1, rounds + 1):
        local.round(silent=2 if number == 3 else None, spoilt=(2, local_run.noise) if number == broken else None)
    local.close()
    return sample


def _text() -> str:
    draw = random.Random(7)
    words = ["merge", "round", "patch", "commit", "swarm", "peer", "weight", "replay"]
    return "\n\n".join(" ".join(draw.choices(words, k=20)) for _ in range(300))


def carry(sample: Sample, *verdicts: Signed) -> Commit:
    """Add a round's commit that carries verdicts; what was contributed to it fails a gate, so that it keeps the weights."""
    local_run = import_module("bench_history.local_run")
    peers = [sample.identity, *(local_run.contributor(number) for number in (1, 2))]
    with sample.store() as store:
        history = restore_history(sample.event, store)
        base, inner = history.head, sample.event.inner
        claim = Contribution(
            event=sample.event.digest, base=base.digest, round=base.round, payload=Blob(sha256=bytes(32), size=1), fisher=None,
            samples=inner.steps * inner.batch, steps=inner.steps, loss=1.0, admission=None,
        )  # fmt: skip
        refused = (Signed.seal(peers[0], claim), refusal_of(sample.event.round_gates()[0].name))
        draft = make_draft(
            sample.event, history.ancestry(base.digest), accepted=[], rejected=[refused], departed=[],
            certificate=history.certificate(base.digest), proposer=peers[0].peer_id, verdicts=verdicts,
        )  # fmt: skip
        commit: Commit = draft.complete(base.state, base.time + 60)
        store.add_commit(commit, local_run.certified(sample.event, base, commit, peers))
        store.set_head(commit.digest)
    return commit
