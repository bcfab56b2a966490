"""Annotated tags: a name for a commit, a message, and the signature of whoever gave it."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, field_validator

from ..canonical import MESSAGE_LIMITS
from ..errors import RemoteProtocolError
from ..identity import Identity, PeerId, verify
from ..record import Digest, Moment, Record, Signature
from .names import MAX_NAME_BYTES, tag_name

_DOMAIN = b"collab-node/tag/1\0"
MAX_MESSAGE = 16 * 1024


class Tag(Record):
    """`name` is short (`v1.2.0`); `time` is the tagger's clock in seconds, for people only."""

    event: Digest
    name: Annotated[str, Field(max_length=MAX_NAME_BYTES)]
    commit: Digest
    message: Annotated[str, Field(max_length=MAX_MESSAGE)]
    tagger: PeerId
    time: Moment

    @field_validator("name")
    @classmethod
    def _named(cls, name: str) -> str:
        tag_name(name)
        return name


class SignedTag(Record):
    """A tag's canonical bytes, and its tagger's signature over them."""

    tag: Annotated[bytes, Field(max_length=MESSAGE_LIMITS.size - 256)]
    signature: Signature

    @classmethod
    def seal(cls, identity: Identity, tag: Tag) -> Self:
        """Sign `tag`, whose tagger is `identity`."""
        body = tag.encode()
        return cls(tag=body, signature=identity.sign(_DOMAIN + body))

    def open(self) -> Tag:
        """Return the tag. Raises RemoteProtocolError: "malformed" or "bad_signature"."""
        tag = Tag.decode(self.tag)
        if not verify(tag.tagger, self.signature, _DOMAIN + self.tag):
            raise RemoteProtocolError("bad_signature", tag.tagger)
        return tag
