"""Records: frozen values, valid once built, with one canonical byte string and its SHA-256 as their name."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .canonical import MESSAGE_LIMITS, Limits, decode, encode
from .errors import RemoteProtocolError

Digest: TypeAlias = Annotated[bytes, Field(min_length=32, max_length=32)]
Signature: TypeAlias = Annotated[bytes, Field(min_length=64, max_length=64)]
Count: TypeAlias = Annotated[int, Field(ge=0, lt=1 << 62)]
Moment: TypeAlias = Annotated[int, Field(ge=0, lt=253_402_300_800)]
"""Unix seconds before the year 10000: whatever shows or plots a time can show this one."""
Finite: TypeAlias = Annotated[float, Field(allow_inf_nan=False)]
Word: TypeAlias = Annotated[str, Field(max_length=64, pattern=r"^[a-z0-9][a-z0-9_.-]*$")]


def later(default: Any) -> Any:
    """Return a field that came after format 1: at its default it is not encoded, so older records keep their bytes and names."""
    return Field(default=default, exclude_if=lambda value: bool(value == default))


def sha256(data: bytes | bytearray | memoryview) -> bytes:
    """Return the 32-byte SHA-256 that names `data` in the store and on the wire."""
    return hashlib.sha256(data).digest()


class Record(BaseModel):
    """A frozen value with a canonical encoding; the constructor checks every field, nothing half-valid exists."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", ignored_types=(cached_property,))

    def encode(self) -> bytes:
        """Return the record's canonical bytes."""
        return self._encoded

    @cached_property
    def _encoded(self) -> bytes:
        return encode(self.model_dump())

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of the canonical bytes: the record's name."""
        return sha256(self._encoded)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a record with some fields changed: checked like any other, and with bytes and a name of its own."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self)(**(fields | dict(update or {})))

    @classmethod
    def decode(cls, data: bytes | bytearray | memoryview, limits: Limits = MESSAGE_LIMITS) -> Self:
        """Return the record that `data` encodes; RemoteProtocolError if it is not exactly one valid record's encoding."""
        value = decode(data, limits)
        if not isinstance(value, dict):
            raise RemoteProtocolError("malformed", f"not a {cls.__name__}")
        record = cls.from_fields(value)
        if record.encode() != data:
            raise RemoteProtocolError("malformed", "not the canonical encoding")
        return record

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> Self:
        """Build from decoded fields; RemoteProtocolError names the first field that is wrong."""
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise RemoteProtocolError("malformed", f"{cls.__name__}.{where}: {first['msg']}") from error
