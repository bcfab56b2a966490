"""Frames between the processes of one node: a 4-byte little-endian length, then a msgpack map with string keys.

Sans-io: bytes in, messages out. The claimed length is checked against `MAX_FRAME` before anything is buffered for it,
and a frame that is not one map ends the conversation, because after it nobody knows where the next frame starts.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import msgpack

Message: TypeAlias = dict[str, Any]

MAX_FRAME = 16 * 1024 * 1024
_LENGTH = struct.Struct("<I")


class FrameError(ValueError):
    """The other process sent bytes that are no frame, or we tried to send what fits in none."""


class ChannelClosed(ConnectionError):
    """The other process closed its end: it stopped or died."""


def encode_frame(message: Mapping[str, Any]) -> bytes:
    """Return `message` as one frame. Raises FrameError if it is larger than MAX_FRAME or has no msgpack form."""
    try:
        body = bytes(msgpack.packb(message, use_bin_type=True))
    except (TypeError, ValueError, OverflowError) as error:
        raise FrameError(f"a message that msgpack cannot carry: {error}") from error
    if len(body) > MAX_FRAME:
        raise FrameError(f"a message of {len(body)} bytes; a frame carries at most {MAX_FRAME}")
    return _LENGTH.pack(len(body)) + body


class FrameDecoder:
    """Cuts a byte stream into messages, however the bytes were split on their way."""

    def __init__(self, limit: int = MAX_FRAME) -> None:
        self._limit = limit
        self._buffer = bytearray()

    def feed(self, data: bytes | bytearray | memoryview) -> Iterator[Message]:
        """Add `data` and yield every message that is now complete. Raises FrameError for bytes that are no frame."""
        self._buffer += data
        while (end := self._frame_end()) is not None:
            body = bytes(memoryview(self._buffer)[_LENGTH.size : end])
            del self._buffer[:end]
            yield _decode_body(body)

    @property
    def pending(self) -> int:
        """Bytes of an incomplete frame that are waiting for the rest."""
        return len(self._buffer)

    def _frame_end(self) -> int | None:
        if len(self._buffer) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._buffer)
        if length > self._limit:
            raise FrameError(f"a frame that claims {length} bytes; at most {self._limit} are allowed")
        end = _LENGTH.size + int(length)
        return end if len(self._buffer) >= end else None


def _decode_body(body: bytes) -> Message:
    try:
        message = msgpack.unpackb(body, raw=False, strict_map_key=True)
    except (ValueError, msgpack.UnpackException) as error:
        raise FrameError(f"a frame that is not msgpack: {error}") from error
    if not isinstance(message, dict) or not all(isinstance(key, str) for key in message):
        raise FrameError("a frame that is not a map with string keys")
    return message
