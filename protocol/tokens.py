"""Tokens: each invite has a key pair of its own, and terms that say until when and for how many peers it is good.

Whoever has a token's seed can let a peer in; the terms are signed by the event's admission key or its coordinator. So anyone
can check an admission without asking a server: a signature of the token over event and PeerId, and the one under its terms.

`protocol/admission.py` says what expiry and uses mean, and what they hold against.
"""

from __future__ import annotations

from collections.abc import Iterable

from .canonical import encode
from .identity import Identity, PeerId, verify
from .record import Count, Digest, Record, Signature

_DOMAIN = b"collab-node/token/1\0"


class Terms(Record):
    """`expires`: from when on the token lets nobody in (Unix seconds; 0: never); `uses`: how many peers it lets in (0: any)."""

    expires: Count
    uses: Count
    signature: Signature

    @classmethod
    def seal(cls, issuer: Identity, event: bytes, token: bytes, *, expires: int = 0, uses: int = 0) -> Terms:
        """Return the terms of `token` (its 32-byte public key), signed by the admission key or the coordinator."""
        return cls(expires=expires, uses=uses, signature=issuer.sign(_signed_bytes(event, token, expires, uses)))

    def are_by(self, issuers: Iterable[PeerId], event: bytes, token: bytes) -> bool:
        """Say whether one of `issuers` signed these terms for `token` in `event`."""
        signed = _signed_bytes(event, token, self.expires, self.uses)
        return any(verify(issuer, self.signature, signed) for issuer in issuers)


class TokenProof(Record):
    """What a peer shows to be let in: the token's id (its public key), its terms, and its signature over event and PeerId."""

    token: Digest
    terms: Terms
    signature: Signature


def _signed_bytes(event: bytes, token: bytes, expires: int, uses: int) -> bytes:
    return _DOMAIN + encode([event, token, expires, uses])
