"""The one line that a volunteer pastes: event id, bootstrap addresses, and an admission token where the event asks for one."""

from __future__ import annotations

from base64 import b64decode, urlsafe_b64encode
from typing import Annotated

from pydantic import Field, model_validator

from .canonical import Limits
from .errors import RemoteProtocolError
from .record import Digest, Record, later, sha256
from .tokens import Terms

PREFIX = "collab1-"
_CHECKSUM_BYTES = 4
_LIMITS = Limits(size=4096, depth=3, items=64)


class InviteError(ValueError):
    """The text is not a usable invite; the message says what is wrong."""


class Invite(Record):
    """`token` is a token's 32-byte seed, and `terms` are its signed terms; without them it is the seed of the admission key.

    An open event's invite has neither. The bytes of an invite without terms do not mention them.
    """

    event: Digest
    bootstrap: Annotated[tuple[Annotated[str, Field(max_length=256)], ...], Field(min_length=1, max_length=16)]
    token: Digest | None = None
    terms: Terms | None = later(None)

    @model_validator(mode="after")
    def _terms_are_of_a_token(self) -> Invite:
        if self.terms is not None and self.token is None:
            raise ValueError("terms without a token")
        return self

    def text(self) -> str:
        """Return the line: a prefix, then base64url of the canonical bytes and the first 4 bytes of their hash."""
        body = self.encode()
        return PREFIX + urlsafe_b64encode(body + sha256(body)[:_CHECKSUM_BYTES]).decode().rstrip("=")

    @classmethod
    def parse(cls, text: str) -> Invite:
        """Read an invite. Raises InviteError with a sentence for the person who pasted it."""
        compact = "".join(text.split())
        if not compact.startswith(PREFIX):
            raise InviteError(f"an invite starts with {PREFIX!r}; ask the coordinator for the line that `event invite` prints")
        try:
            encoded = compact.removeprefix(PREFIX)
            raw = b64decode(encoded + "=" * (-len(encoded) % 4), altchars="-_", validate=True)
        except ValueError as error:
            raise InviteError("the invite has characters that do not belong; paste the whole line again") from error
        body, checksum = raw[:-_CHECKSUM_BYTES], raw[-_CHECKSUM_BYTES:]
        if sha256(body)[:_CHECKSUM_BYTES] != checksum:
            raise InviteError("the invite is incomplete or mistyped (its checksum differs); paste the whole line again")
        try:
            return cls.decode(body, _LIMITS)
        except RemoteProtocolError as error:
            raise InviteError(f"the invite is from another version of collab-node ({error})") from error
