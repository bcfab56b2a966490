"""Commits that follow each other, small and valid, for tests of the store and of the command line."""

from __future__ import annotations

from event_kit import draft_fields

from collab.protocol.commit import Accepted, Commit, root_commit
from collab.protocol.event import EventDraft, EventManifest, Start
from collab.protocol.identity import Identity
from collab.protocol.messages import Blob, Contribution, Signed
from collab.protocol.record import sha256

COORDINATOR = Identity(bytes(31) + b"\1")


def draft() -> EventDraft:
    return EventDraft(**draft_fields(name="sample"))


def manifest() -> EventManifest:
    return draft().manifest(COORDINATOR.peer_id, 1_700_000_000, Start(state=sha256(b"start"), seed=1))


class Chain:
    """Makes commits on top of each other, each with one contribution."""

    def __init__(self) -> None:
        self.event = manifest()
        self.root = root_commit(self.event)
        self.head = self.root

    def contribution(self, base: Commit, payload: bytes = b"payload") -> tuple[Signed, Contribution]:
        said = Contribution(
            event=self.event.digest, base=base.digest, round=base.round + 1,
            payload=Blob(sha256=sha256(payload), size=len(payload)), fisher=None,
            samples=160, steps=20, loss=3.25, admission=None,
        )  # fmt: skip
        return Signed.seal(COORDINATOR, said), said

    def child(self, parent: Commit, label: str = "", payload: bytes = b"payload") -> Commit:
        envelope, _ = self.contribution(parent, payload)
        accepted = Accepted(envelope=envelope.encode(), numerator=b"\1", denominator=b"\1", clip=1.0)
        return Commit(
            event=self.event.digest, parents=(parent.digest,), round=parent.round + 1,
            state=sha256(f"{parent.round} {label}".encode()), method="average", full=False, accepted=(accepted,),
            rejected=(), departed=(),
            roster=parent.roster, samples=parent.samples + 160, loss=3.25, proposer=COORDINATOR.peer_id,
            time=parent.time + 60, parent_certificate=None,
        )  # fmt: skip

    def grow(self, payload: bytes = b"payload") -> Commit:
        self.head = self.child(self.head, payload=payload)
        return self.head
