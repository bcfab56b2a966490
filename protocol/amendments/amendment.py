"""One amendment and the signatures under it. Its name is the digest of what is signed, whoever signed it."""

from __future__ import annotations

from functools import cached_property
from itertools import pairwise
from typing import Annotated, Self

from pydantic import Field, model_validator

from ..canonical import Limits
from ..errors import LocalProtocolError
from ..identity import Identity, PeerId, verify
from ..record import Digest, Moment, Record, Signature
from .kinds import MAX_COORDINATORS, Body

MAX_NUMBER = 1024
MAX_BYTES = 16 * 1024
LIMITS = Limits(size=MAX_BYTES + 4096)
_DOMAIN = b"collab-node/amendment/1\0"


class Amendment(Record):
    """The `number`-th amendment (from 1) of an event; `previous` is the digest of the one before, `time` in Unix seconds."""

    event: Digest
    number: Annotated[int, Field(ge=1, le=MAX_NUMBER)]
    previous: Digest | None
    time: Moment
    body: Body

    @model_validator(mode="after")
    def _first_follows_nothing(self) -> Amendment:
        if (self.number == 1) != (self.previous is None):
            raise ValueError("previous is missing from the first amendment, and from no other")
        return self


class CoordinatorSignature(Record):
    """One coordinator's signature."""

    signer: PeerId
    signature: Signature


class SignedAmendment(Record):
    """The canonical bytes of an amendment, and signatures over them in the order of their signers; a draft may have too few."""

    amendment: Annotated[bytes, Field(max_length=MAX_BYTES)]
    signatures: Annotated[tuple[CoordinatorSignature, ...], Field(max_length=MAX_COORDINATORS)] = ()

    @model_validator(mode="after")
    def _each_signs_once(self) -> SignedAmendment:
        if any(first.signer >= second.signer for first, second in pairwise(self.signatures)):
            raise ValueError("signatures are sorted by signer, each once")
        return self

    @classmethod
    def draft(cls, amendment: Amendment) -> Self:
        """Return an amendment that nobody has signed yet."""
        return cls(amendment=amendment.encode())

    @classmethod
    def read(cls, data: bytes | memoryview) -> Self:
        """Decode one, with what it holds. Raises RemoteProtocolError."""
        signed = cls.decode(data, LIMITS)
        _ = signed.content
        return signed

    @cached_property
    def content(self) -> Amendment:
        """What it says. Raises RemoteProtocolError."""
        return Amendment.decode(self.amendment, LIMITS)

    @property
    def name(self) -> bytes:
        """The amendment's digest, which the next one and commits name: the same whoever signed."""
        return self.content.digest

    @property
    def signers(self) -> tuple[PeerId, ...]:
        """Who signed, by their own account: `are_genuine` checks it."""
        return tuple(each.signer for each in self.signatures)

    @cached_property
    def are_genuine(self) -> bool:
        """Whether every signature is its signer's."""
        return all(verify(each.signer, each.signature, _DOMAIN + self.amendment) for each in self.signatures)

    def signed_by(self, identity: Identity) -> Self:
        """Return it with one more signature. Raises LocalProtocolError if `identity` has signed it already."""
        if identity.peer_id in self.signers:
            raise LocalProtocolError("this key has signed it already")
        own = CoordinatorSignature(signer=identity.peer_id, signature=identity.sign(_DOMAIN + self.amendment))
        signatures = sorted((*self.signatures, own), key=lambda each: each.signer)
        return type(self)(amendment=self.amendment, signatures=tuple(signatures))
