"""Small framed values on a stream: a 4-byte little-endian length, checked against a limit, and the bytes."""

from __future__ import annotations

import asyncio
import struct
from contextlib import suppress

from ...protocol.errors import RemoteProtocolError

_LENGTH = struct.Struct("<I")
PIECE = 64 * 1024


def write_frame(writer: asyncio.StreamWriter, data: bytes) -> None:
    """Queue `data` as one frame."""
    writer.write(_LENGTH.pack(len(data)) + data)


async def read_frame(reader: asyncio.StreamReader, limit: int) -> bytes:
    """Return the next frame's bytes.

    Raises RemoteProtocolError("oversized") before a claimed length above `limit` costs anything, EOFError at the end of the
    stream. Memory grows with the bytes that have arrived, not with the claim.
    """
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    if length > limit:
        raise RemoteProtocolError("oversized", f"{length} bytes where {limit} are allowed")
    pieces = []
    left = int(length)
    while left:
        piece = await reader.read(min(left, PIECE))
        if not piece:
            raise EOFError("the stream ended within a frame")
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


async def linger(reader: asyncio.StreamReader, seconds: float = 1.0, limit: int = 1024 * 1024) -> None:
    """Discard what a refused peer still sends, within bounds: closing on unread bytes would reset the stream, and with it
    take away the refusal before the peer has read it."""
    with suppress(OSError):
        async with asyncio.timeout(seconds):
            while limit > 0 and (piece := await reader.read(PIECE)):
                limit -= len(piece)


async def close(writer: asyncio.StreamWriter) -> None:
    """Close `writer`; the other side may have done so first."""
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
