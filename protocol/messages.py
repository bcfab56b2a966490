"""What nodes say to each other: frozen messages in one signed envelope.

A message names its event, so that a signature given in one event means nothing in another; its kind is part of what is signed.
"""

from __future__ import annotations

from functools import cached_property
from itertools import pairwise
from typing import Annotated, ClassVar, Literal, Self, TypeAlias, TypeVar

from pydantic import Field, model_validator

from .canonical import encode
from .errors import RemoteProtocolError
from .identity import Identity, PeerId, verify
from .record import Count, Digest, Finite, Record, Signature, later
from .tokens import TokenProof

M = TypeVar("M", bound="Message")

_DOMAIN = b"collab-node/message/1\0"

Round = Annotated[int, Field(ge=0, lt=1 << 40)]
View = Annotated[int, Field(ge=0, lt=1 << 20)]
Envelope = Annotated[bytes, Field(max_length=64 * 1024)]
MAX_NOTICED = 32
MAX_RECEIPTS = 4
"""So few that the largest commit, which holds its contributions, stays within a document's limit."""
MAX_RECEIVED = (1 << 40) - 1
Receipt: TypeAlias = tuple[Digest, Annotated[int, Field(ge=1, le=MAX_RECEIVED)]]
"""The public key of a peer, and how many bytes of blobs the signer got from it."""


class Message(Record):
    """Anything that travels signed. `KIND` is its name on the wire."""

    KIND: ClassVar[str]
    event: Digest


class Blob(Record):
    """A piece of bytes by its SHA-256 and size."""

    sha256: Digest
    size: Annotated[int, Field(ge=1, lt=1 << 40)]


class Progress(Message):
    """I am here, on commit `base`, and this far into the round. Also tells a peer behind it that there is something newer."""

    KIND = "progress"
    base: Digest
    round: Round
    samples: Count
    steps: Count
    loss: Finite
    rate: Finite
    trains: bool
    done: bool
    sequence: Count


class Contribution(Message):
    """The claim: trained on `base` (a commit) with this many samples, the update is `payload`.

    `admission` is what lets the signer into an event by invitation: a signature of the admission key, or a token's proof.
    `received` says from whom the signer got payloads, commits and snapshots, as far as no merged contribution of it said so
    before (`receipts`); in the order of the keys, and not mentioned while empty.
    """

    KIND = "contribution"
    base: Digest
    round: Round
    payload: Blob
    fisher: Blob | None
    samples: Annotated[int, Field(ge=1, lt=1 << 40)]
    steps: Annotated[int, Field(ge=1, lt=1 << 32)]
    loss: Finite
    admission: Signature | TokenProof | None
    received: Annotated[tuple[Receipt, ...], Field(max_length=MAX_RECEIPTS)] = later(())

    @model_validator(mode="after")
    def _receipts_are_in_order(self) -> Contribution:
        if any(first >= second for (first, _), (second, _) in pairwise(self.received)):
            raise ValueError("receipts are in the order of their keys, each once")
        return self


class Proof(Record):
    """More than 2/3 of the committee of `epoch` prevoted `commit` in `view`: it may be final, so it has to be proposed again."""

    epoch: View
    view: View
    commit: Blob
    prevotes: Annotated[tuple[Envelope, ...], Field(max_length=64)]


class Proposal(Message):
    """The proposer of a view puts a commit to the committee. `proof` is the earlier vote that supports it, if any."""

    KIND = "proposal"
    base: Digest
    epoch: View
    view: View
    commit: Blob
    proof: Proof | None


class Attestation(Message):
    """I replayed `commit` and got its state hash (`prevote`), or saw more than 2/3 say so (`precommit`). No commit: I did not."""

    KIND = "attestation"
    base: Digest
    epoch: View
    view: View
    stage: Literal["prevote", "precommit"]
    commit: Digest | None


class Exhausted(Message):
    """All views of this epoch passed without a quorum: I ask for a new committee, and show the last commit that may be final."""

    KIND = "exhausted"
    base: Digest
    epoch: View
    locked: Proof | None


class Goodbye(Message):
    """I leave; do not wait for me."""

    KIND = "goodbye"
    base: Digest
    round: Round


class AmendmentNotice(Message):
    """An amendment as the event's coordinators signed it (`amendments.SignedAmendment`); whoever passes it on signs this."""

    KIND = "amendment"
    amendment: Annotated[bytes, Field(max_length=32 * 1024)]


class VerdictNotice(Message):
    """What peers say that gates showed (`verdict.Verdict`), each in an envelope of its own; whoever passes them on signs this."""

    KIND = "verdicts"
    verdicts: Annotated[tuple[Envelope, ...], Field(min_length=1, max_length=MAX_NOTICED)]


MESSAGES: dict[str, type[Message]] = {
    message.KIND: message
    for message in (Progress, Contribution, Proposal, Attestation, Exhausted, Goodbye, AmendmentNotice, VerdictNotice)
}


class Signed(Record):
    """The envelope: what was said, by whom, and the signature over both."""

    kind: Annotated[str, Field(max_length=32)]
    signer: PeerId
    body: Annotated[bytes, Field(max_length=60 * 1024)]
    signature: Signature

    @classmethod
    def seal(cls, identity: Identity, message: Message) -> Self:
        """Sign `message` as `identity`."""
        body = message.encode()
        signature = identity.sign(_signed_bytes(message.KIND, identity.peer_id, body))
        return cls(kind=message.KIND, signer=identity.peer_id, body=body, signature=signature)

    def repeated_by(self, identity: Identity) -> Self:
        """Return the same words, said and signed by somebody else."""
        signature = identity.sign(_signed_bytes(self.kind, identity.peer_id, self.body))
        return self.model_copy(update={"signer": identity.peer_id, "signature": signature})

    def open(self) -> Message:
        """Return the message. Raises RemoteProtocolError: "unknown_kind", "bad_signature" or "malformed".

        Verified once for an envelope object, however often it is opened.
        """
        return self._opened

    @cached_property
    def _opened(self) -> Message:
        if self.kind not in MESSAGES:
            raise RemoteProtocolError("unknown_kind", self.kind)
        self.check_signature()
        return MESSAGES[self.kind].decode(self.body)

    def open_as(self, kind: type[M]) -> M:
        """Return the message, which must be of `kind`; RemoteProtocolError("unexpected_kind") otherwise."""
        message = self.open()
        if not isinstance(message, kind):
            raise RemoteProtocolError("unexpected_kind", f"{self.kind} where {kind.KIND} belongs")
        return message

    def check_signature(self) -> None:
        """Raise RemoteProtocolError("bad_signature") unless the signer signed this body under this kind."""
        if not verify(self.signer, self.signature, _signed_bytes(self.kind, self.signer, self.body)):
            raise RemoteProtocolError("bad_signature", self.signer)


def _signed_bytes(kind: str, signer: str, body: bytes) -> bytes:
    return _DOMAIN + encode([kind, signer, body])


def admission_bytes(event: bytes, peer_id: str) -> bytes:
    """Return what an admission key signs to let `peer_id` into an event."""
    return b"collab-node/admission/1\0" + encode([event, peer_id])
