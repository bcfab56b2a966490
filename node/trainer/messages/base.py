"""What every message between the two processes is."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class Message(BaseModel):
    """A frozen map of plain values, as msgpack carries it."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Request(Message):
    """Anything the daemon asks; `OP` is its name on the channel."""

    OP: ClassVar[str]


class Done(Message):
    """It is done."""


class Notice(Message):
    """What the worker says unasked; `EVENT` is its name on the channel."""

    EVENT: ClassVar[str]
