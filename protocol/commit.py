"""Commits: what a merge round left behind. Everything but the payloads' bytes is inside, signed claims included.

A commit's id is the hash of its canonical bytes. It holds the roster that the *next* committee is drawn from, and the certificate
that made its parent final, so a chain of commits proves itself; only the newest needs its own certificate beside it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Literal

from pydantic import Field, model_validator

from .canonical import DOCUMENT_LIMITS
from .cosigning import MAX_COSIGNERS, Cosignature
from .event import EventManifest, MergeMethod
from .gates import gate_of
from .identity import PeerId
from .messages import Attestation, Contribution, Envelope, Round, Signed, View
from .record import Count, Digest, Finite, Moment, Record, Word, later

MAX_VERDICTS = 64


class Member(Record):
    """A peer on the roster, the round it joined in, and the last one it contributed to or attested."""

    peer: PeerId
    joined: Round
    last: Round


class Accepted(Record):
    """A contribution in the merge: its signed envelope, its share as an exact fraction, and the scale that clips its norm."""

    envelope: Envelope
    numerator: Annotated[bytes, Field(min_length=1, max_length=64)]
    denominator: Annotated[bytes, Field(min_length=1, max_length=64)]
    clip: Annotated[float, Field(gt=0, le=1)]


class Rejected(Record):
    """A contribution that was seen and left out, and why."""

    envelope: Envelope
    reason: Word


class Certificate(Record):
    """More than 2/3 of a committee's precommits: the proof that a commit is final."""

    event: Digest
    base: Digest
    commit: Digest
    epoch: View
    view: View
    precommits: Annotated[tuple[Envelope, ...], Field(max_length=64)]


class Commit(Record):
    """One version of the model, given its parent.

    `state` is the state hash after the merge; `samples` counts all samples since the root; `loss` is the sample-weighted mean
    of the contributions' training losses (None where there are none). `time` is the proposer's clock, for people only.

    `statement` is the signed message of whoever made a commit that no round made (`proposal.ProposalMerge`, `revert.Revert`); a
    commit of a round has none, and its bytes do not mention it. `verdicts` are signed envelopes: beside a statement those that it
    names by their hashes, in a round's commit what peers said since the last ones (`protocol/carried.py`); they are not mentioned
    where there are none. `cosigners` go with a statement, in an event in which several maintainers decide. `amendment` is the
    newest one that the proposer had applied (`amendments.chain`), not mentioned while there is none.
    """

    event: Digest
    parents: Annotated[tuple[Digest, ...], Field(max_length=2)]
    round: Round
    state: Digest
    method: MergeMethod | Literal["root", "proposals", "revert"]
    full: bool
    accepted: Annotated[tuple[Accepted, ...], Field(max_length=4096)]
    rejected: Annotated[tuple[Rejected, ...], Field(max_length=4096)]
    departed: Annotated[tuple[Envelope, ...], Field(max_length=4096)]
    roster: Annotated[tuple[Member, ...], Field(min_length=1, max_length=8192)]
    samples: Count
    loss: Finite | None
    proposer: PeerId
    time: Moment
    parent_certificate: Certificate | None
    statement: Envelope | None = later(None)
    verdicts: Annotated[tuple[Envelope, ...], Field(max_length=MAX_VERDICTS)] = later(())
    cosigners: Annotated[tuple[Cosignature, ...], Field(max_length=MAX_COSIGNERS)] = later(())
    amendment: Digest | None = later(None)

    @model_validator(mode="after")
    def _ordered(self) -> Commit:
        peers = [member.peer for member in self.roster]
        if peers != sorted(set(peers)):
            raise ValueError("the roster is sorted by peer, each once")
        if (self.method == "root") != (not self.parents):
            raise ValueError("the root, and only the root, has no parent")
        if (self.method in ("proposals", "revert")) != (self.statement is not None):
            raise ValueError("a merge of proposals and a revert, and nothing else, come with a statement")
        cosigners = [each.peer for each in self.cosigners]
        if self.statement is None and cosigners:
            raise ValueError("cosigners go with a statement")
        if cosigners != sorted(set(cosigners)):
            raise ValueError("cosigners are in the order of their ids, each once")
        return self

    @property
    def base(self) -> bytes:
        """The first parent: the commit whose round this one ends."""
        return self.parents[0]

    @property
    def round_method(self) -> MergeMethod:
        """The method of a commit that a round made."""
        assert self.method != "root"
        assert self.method != "proposals"
        assert self.method != "revert"
        return self.method

    def contributions(self) -> list[tuple[Signed, Contribution]]:
        """Return the accepted contributions, opened. Raises RemoteProtocolError if one is not what it says."""
        return [open_contribution(accepted.envelope) for accepted in self.accepted]

    def failed_gates(self) -> list[tuple[Signed, Contribution]]:
        """Return the contributions that a gate refused, opened. Raises RemoteProtocolError if one is not what it says."""
        refused = (rejected for rejected in self.rejected if gate_of(rejected.reason) is not None)
        return [open_contribution(rejected.envelope) for rejected in refused]


@lru_cache(maxsize=8192)
def open_contribution(envelope: bytes) -> tuple[Signed, Contribution]:
    """Decode an envelope and open the contribution in it. Raises RemoteProtocolError."""
    signed = Signed.decode(envelope)
    return signed, signed.open_as(Contribution)


def decode_commit(data: bytes | memoryview) -> Commit:
    """Decode a commit fetched by hash. Raises RemoteProtocolError."""
    return Commit.decode(data, DOCUMENT_LIMITS)


def root_commit(event: EventManifest) -> Commit:
    """Return the first commit of an event, which follows from the event alone: its start, and its coordinator as the roster."""
    return Commit(
        event=event.digest,
        parents=(),
        round=0,
        state=event.start.state,
        method="root",
        full=True,
        accepted=(),
        rejected=(),
        departed=(),
        roster=(Member(peer=event.coordinator, joined=0, last=0),),
        samples=0,
        loss=None,
        proposer=event.coordinator,
        time=event.created,
        parent_certificate=None,
    )


@lru_cache(maxsize=4096)
def open_attestation(envelope: bytes) -> tuple[Signed, Attestation]:
    """Decode an envelope and open the attestation in it. Raises RemoteProtocolError."""
    signed = Signed.decode(envelope)
    return signed, signed.open_as(Attestation)
