"""Proposals of a change that was made outside the swarm, and the commit in which a maintainer merges some of them.

(Not a round's `messages.Proposal`, which puts a commit to the committee.) A proposal is signed by whoever made it and names its
payload by hash. The commit that merges proposals is signed by the event's coordinator, not by a committee: its `statement` holds
the proposals, the method with its parameters, and, where methods were compared, the losses that decided. Everything in such a
commit but the state hash follows from the statement and the parent, so a check is a rebuild; the state hash is left to a replay.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from .commit import Certificate, Commit
from .errors import RemoteProtocolError
from .event import EventManifest
from .identity import Identity, PeerId
from .messages import Blob, Envelope, Message, Signed
from .record import Count, Digest, Finite, Record, Word
from .stated import open_stated, stated_commit

MAX_PROPOSALS = 16
MAX_MESSAGE = 700

Text = Annotated[str, Field(max_length=MAX_MESSAGE)]
Form = Literal["sparse", "dense", "low-rank"]
STATISTICS = {"fisher": "fisher", "regmean": "grams"}
"""The methods that need what a proposal may come without, and the field that it is in."""


class ModelProposal(Message):
    """I trained from the commit `base` with so many samples, and got base − patch, but for a relative error of `error`.

    `form` says what the payload is: a `sparse` or `dense` patch of the wire format, or `low-rank` factors. `samples` weighs the
    proposal against others; `time` is its maker's clock in Unix seconds, for people only.

    `fisher` is the Fisher diagonal on the coordinates of the payload, `grams` the Gram matrices of linear layers, as their maker
    measured them. A proposal without has none of the two in its bytes.
    """

    KIND = "model-proposal"
    base: Digest
    form: Form
    payload: Blob
    samples: Annotated[int, Field(ge=1, lt=1 << 40)]
    error: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
    message: Text
    time: Count
    fisher: Blob | None = None
    grams: Blob | None = None

    @model_serializer(mode="wrap")
    def _without_empty_statistics(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = serialise(self)
        return {name: value for name, value in fields.items() if value is not None or name not in STATISTICS.values()}

    def blobs(self) -> tuple[Blob, ...]:
        """Return everything that goes with the record: the payload, then the statistics that there are."""
        return tuple(blob for blob in (self.payload, self.fisher, self.grams) if blob is not None)

    def statistics(self, method: str) -> dict[str, Blob]:
        """Return the statistics that a merge by `method` needs, as far as they are there, by name."""
        name = STATISTICS.get(method)
        blob = getattr(self, name) if name is not None else None
        return {name: blob} if name is not None and blob is not None else {}


class Tried(Record):
    """A method that was tried: its held-out loss, or why it has none."""

    method: Word
    loss: Finite | None
    reason: Annotated[str, Field(max_length=200)] = ""


class ProposalMerge(Message):
    """I merged these proposals into the commit `base` by `method`, and the state hash is `state`.

    `proposals`: signed envelopes in the order of their digests. `tried`: what `auto` compared, empty where the method was given.
    """

    KIND = "proposal-merge"
    base: Digest
    state: Digest
    proposals: Annotated[tuple[Envelope, ...], Field(min_length=1, max_length=MAX_PROPOSALS)]
    method: Word
    parameters: Annotated[dict[Word, Finite], Field(max_length=16)]
    tried: Annotated[tuple[Tried, ...], Field(max_length=16)]
    message: Text
    time: Count

    @model_validator(mode="after")
    def _ordered(self) -> ProposalMerge:
        digests = [Signed.decode(envelope).digest for envelope in self.proposals]
        if digests != sorted(set(digests)):
            raise ValueError("proposals are in the order of their digests, each once")
        return self

    def opened(self) -> list[tuple[Signed, ModelProposal]]:
        """Return the proposals. Raises RemoteProtocolError if one is not what it says."""
        return [(Signed.decode(envelope), open_proposal(envelope)[1]) for envelope in self.proposals]


def open_proposal(envelope: bytes) -> tuple[PeerId, ModelProposal]:
    """Return who proposes what. Raises RemoteProtocolError."""
    return open_stated(envelope, ModelProposal)


def open_merge(commit: Commit) -> tuple[PeerId, ProposalMerge]:
    """Return who merged which proposals in a commit of method "proposals". Raises RemoteProtocolError."""
    assert commit.statement is not None
    return open_stated(commit.statement, ProposalMerge)


def merge_commit(maintainer: Identity, parent: Commit, certificate: Certificate | None, merge: ProposalMerge) -> Commit:
    """Return the commit after `parent` that merges proposals; `certificate` is what made the parent final, if a round did."""
    return _commit(Signed.seal(maintainer, merge), parent, certificate, merge)


def verify_merge_commit(event: EventManifest, parent: Commit, commit: Commit) -> None:
    """Raise RemoteProtocolError unless `commit` is what the event's coordinator may make after `parent` from valid proposals.

    The state hash and the parent's certificate are left to others.
    """
    signer, merge = open_merge(commit)
    assert commit.statement is not None
    if signer != event.coordinator:
        raise RemoteProtocolError("not_the_coordinator", signer)
    for _, proposal in merge.opened():
        if proposal.event != event.digest:
            raise RemoteProtocolError("wrong_event")
    if merge.event != event.digest or merge.base != parent.digest:
        raise RemoteProtocolError("wrong_base")
    expected = _commit(Signed.decode(commit.statement), parent, commit.parent_certificate, merge)
    if expected != commit:
        raise RemoteProtocolError("wrong_merge", "the commit is not what its statement says")


def _commit(statement: Signed, parent: Commit, certificate: Certificate | None, merge: ProposalMerge) -> Commit:
    samples = sum(proposal.samples for _, proposal in merge.opened())
    return stated_commit(
        statement, parent, "proposals", state=merge.state, time=merge.time, samples=samples, certificate=certificate
    )
