"""Proposals of a change that was made outside the swarm, and the commit in which a maintainer merges some of them.

(Not a round's `messages.Proposal`, which puts a commit to the committee.) A proposal is signed by whoever made it and names its
payload by hash. The commit that merges proposals is signed by the event's maintainers, not by a committee: its `statement` holds
the proposals, the method with its parameters, where methods were compared what decided, and the hashes of the verdicts that stand
in the commit: of each of the event's gates one that passed, or else the reason for which it was merged all the same. Everything
but the state hash follows from statement, verdicts and parent, so a check is a rebuild; the state hash is left to a replay.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, model_validator

from .commit import MAX_VERDICTS, Certificate, Commit
from .cosigning import Cosignature
from .errors import RemoteProtocolError
from .event import EventManifest
from .identity import Identity, PeerId
from .messages import Blob, Envelope, Message, Signed
from .record import Digest, Finite, Moment, Record, Word, later
from .stated import open_stated, stated_commit
from .verdict import open_about, unmet_gate

MAX_PROPOSALS = 16
MAX_MESSAGE = 700
MAX_DESPITE = 200

Text = Annotated[str, Field(max_length=MAX_MESSAGE)]
Form = Literal["sparse", "dense", "low-rank"]
STATISTICS = {"fisher": "fisher", "regmean": "grams"}
"""The methods that need what a proposal may come without, and the field that it is in."""


class ModelProposal(Message):
    """I trained from the commit `base` with so many samples, and got base − patch, but for a relative error of `error`.

    `form` says what the payload is: a `sparse` or `dense` patch of the wire format, or `low-rank` factors. `samples` weighs the
    proposal against others; `time` is its maker's clock in Unix seconds, for people only.

    `fisher` is the Fisher diagonal on the coordinates of the payload, `grams` the Gram matrices of linear layers, as their maker
    measured them. The bytes of a proposal without do not mention them.
    """

    KIND = "model-proposal"
    base: Digest
    form: Form
    payload: Blob
    samples: Annotated[int, Field(ge=1, lt=1 << 40)]
    error: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
    message: Text
    time: Moment
    fisher: Blob | None = later(None)
    grams: Blob | None = later(None)

    def blobs(self) -> tuple[Blob, ...]:
        """Return everything that goes with the record: the payload, then the statistics that there are."""
        return tuple(blob for blob in (self.payload, self.fisher, self.grams) if blob is not None)

    def statistics(self, method: str) -> dict[str, Blob]:
        """Return the statistics that a merge by `method` needs, as far as they are there, by name."""
        name = STATISTICS.get(method)
        blob = getattr(self, name) if name is not None else None
        return {name: blob} if name is not None and blob is not None else {}


class Tried(Record):
    """A method that was tried: its held-out loss, or in an event with gates its `change`, or why it has none.

    `change`: how much worse than the parent it is, relative, in the mean over the gates; negative: better.
    """

    method: Word
    loss: Finite | None
    reason: Annotated[str, Field(max_length=200)] = ""
    change: Finite | None = later(None)


class ProposalMerge(Message):
    """I merged these proposals into the commit `base` by `method`, and the state hash is `state`.

    `proposals`: signed envelopes in the order of their digests. `tried`: what `auto` compared, empty where the method was given.
    `verdicts`: the hashes of the commit's. `despite`: why it is merged although a gate failed, or was not run.
    """

    KIND = "proposal-merge"
    base: Digest
    state: Digest
    proposals: Annotated[tuple[Envelope, ...], Field(min_length=1, max_length=MAX_PROPOSALS)]
    method: Word
    parameters: Annotated[dict[Word, Finite], Field(max_length=16)]
    tried: Annotated[tuple[Tried, ...], Field(max_length=16)]
    message: Text
    time: Moment
    verdicts: Annotated[tuple[Digest, ...], Field(max_length=MAX_VERDICTS)] = later(())
    despite: Annotated[str, Field(max_length=MAX_DESPITE)] = later("")

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


def merge_commit(
    maintainer: Identity, parent: Commit, certificate: Certificate | None, merge: ProposalMerge, verdicts: Sequence[Signed] = ()
) -> Commit:
    """Return the commit after `parent` that merges proposals; `certificate` is what made the parent final, if a round did.

    `verdicts` are what the gates showed of it; the statement gets their hashes.
    """
    named = merge.model_copy(update={"verdicts": tuple(verdict.digest for verdict in verdicts)})
    envelopes = tuple(verdict.encode() for verdict in verdicts)
    return _commit(Signed.seal(maintainer, named), parent, certificate, named, envelopes, ())


def verify_merge_commit(event: EventManifest, parent: Commit, commit: Commit) -> None:
    """Raise RemoteProtocolError unless `commit` is what some of the event's maintainers may make after `parent`.

    That enough of them signed (`stated.verify_signers`), the state hash and the parent's certificate are left to others.
    """
    _, merge = open_merge(commit)
    assert commit.statement is not None
    for _, proposal in merge.opened():
        if proposal.event != event.digest:
            raise RemoteProtocolError("wrong_event")
    if merge.event != event.digest or merge.base != parent.digest:
        raise RemoteProtocolError("wrong_base")
    expected = _commit(
        Signed.decode(commit.statement), parent, commit.parent_certificate, merge, commit.verdicts, commit.cosigners
    )
    if expected != commit:
        raise RemoteProtocolError("wrong_merge", "the commit is not what its statement says")
    _verify_verdicts(event, parent, commit, merge)


def _verify_verdicts(event: EventManifest, parent: Commit, commit: Commit, merge: ProposalMerge) -> None:
    signed = [Signed.decode(envelope) for envelope in commit.verdicts]
    if tuple(each.digest for each in signed) != merge.verdicts:
        raise RemoteProtocolError("wrong_merge", "its verdicts are not those that its statement names")
    shown = [open_about(each, event.digest, commit.state, parent.state)[1].measurement for each in signed]
    if not merge.despite and (gate := unmet_gate(event.gate, shown)) is not None:
        raise RemoteProtocolError("gate_failed", gate)


def _commit(
    statement: Signed, parent: Commit, certificate: Certificate | None, merge: ProposalMerge, verdicts: tuple[bytes, ...],
    cosigners: tuple[Cosignature, ...],
) -> Commit:  # fmt: skip
    samples = sum(proposal.samples for _, proposal in merge.opened())
    commit = stated_commit(
        statement, parent, "proposals", state=merge.state, time=merge.time, samples=samples, certificate=certificate
    )
    return commit.model_copy(update={"verdicts": verdicts, "cosigners": cosigners})
