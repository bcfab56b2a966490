"""Blobs by SHA-256 over raw hivemind streams: what we serve, and the protocol both sides speak. Fetching is in `fetch`.

A client opens a stream and sends requests one after the other, each a small frame (digest, offset, length). The server
answers each with a status byte, the length as 8 bytes little-endian, and that many raw bytes: the ones that were asked for, or
none.
"""

from __future__ import annotations

import asyncio
import os
import struct
from collections import Counter
from enum import IntEnum
from pathlib import Path
from typing import Protocol

from ...protocol.canonical import Limits, decode, encode
from ...protocol.errors import RemoteProtocolError
from . import wire
from .blob_limits import BlobLimits
from .p2p import P2PHost
from .pacing import Pacer
from .traffic import Traffic

PROTOCOL = "collab/blob/1"
HEADER = struct.Struct("<BQ")
MAX_REQUEST = 256
MAX_PART = 16 * 1024 * 1024
_REQUEST_LIMITS = Limits(size=MAX_REQUEST, depth=2, items=8)
_CHUNK = 512 * 1024


class Status(IntEnum):
    """How a request was answered."""

    OK = 0
    ABSENT = 1
    BUSY = 2
    REFUSED = 3


class BlobSource(Protocol):
    """Where served blobs come from: the store."""

    def open(self, digest: bytes) -> tuple[Path | memoryview, int] | None:
        """Return the file or the bytes of a blob and its size, or None if it is not there."""


class BlobSink(Protocol):
    """Where fetched blobs go: the store."""

    def partial_path(self, digest: bytes) -> Path:
        """Return where to collect a blob's parts: a file name on the same file system as the store."""

    def commit(self, digest: bytes, path: Path) -> Path:
        """Take the complete, verified file at `path` into the store and return its final place."""


def encode_request(digest: bytes, offset: int, length: int) -> bytes:
    """Return a request's bytes."""
    return encode({"digest": digest, "offset": offset, "length": length})


def decode_request(data: bytes) -> tuple[bytes, int, int]:
    """Return (digest, offset, length). Raises RemoteProtocolError."""
    match decode(data, _REQUEST_LIMITS):
        case {"digest": bytes(digest), "offset": int(offset), "length": int(length), **rest} if not rest:
            if len(digest) == 32 and offset >= 0 and 0 < length <= MAX_PART:
                return digest, offset, length
    raise RemoteProtocolError("malformed", "blob request")


class BlobServer:
    """Serves the blobs of `source`, as fast as its `pacer` lets it."""

    def __init__(self, host: P2PHost, source: BlobSource, traffic: Traffic, limits: BlobLimits) -> None:
        self.pacer = Pacer()
        self._sending = 0
        self._host = host
        self._source = source
        self._traffic = traffic
        self._limits = limits
        self._serving: Counter[str] = Counter()

    async def start(self) -> None:
        """Take requests from now on."""
        await self._host.handle(PROTOCOL, self._serve)

    async def _serve(self, peer_id: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._serving[peer_id] += 1
        try:
            while True:
                async with asyncio.timeout(self._limits.idle):
                    request = await wire.read_frame(reader, MAX_REQUEST)
                await self._answer(peer_id, request, writer)
        except RemoteProtocolError as error:
            self._traffic.refused[f"blob_{error.reason}"] += 1
            writer.write(HEADER.pack(Status.REFUSED, 0))
            await wire.linger(reader)
        except (OSError, EOFError):
            return  # the peer has all it wanted, left, or does not read
        finally:
            self._serving[peer_id] -= 1
            if not self._serving[peer_id]:
                del self._serving[peer_id]
            await wire.close(writer)

    async def _answer(self, peer_id: str, request: bytes, writer: asyncio.StreamWriter) -> None:
        digest, offset, length = decode_request(request)
        busy = self._sending >= self._limits.serves or self._serving[peer_id] > self._limits.serves_per_peer
        busy = busy or not self.pacer.allows(self._sending)
        found = None if busy else self._source.open(digest)
        if found is None:
            writer.write(HEADER.pack(Status.BUSY if busy else Status.ABSENT, 0))
            await self._drain(writer)
            return
        content, size = found
        if offset + length > size:
            raise RemoteProtocolError("out_of_range", f"{offset} + {length} of {size}")
        writer.write(HEADER.pack(Status.OK, length))
        self._sending += 1
        try:
            if isinstance(content, memoryview):
                await self._send_memory(content[offset : offset + length], writer)
            else:
                await self._send_file(content, offset, length, writer)
        finally:
            self._sending -= 1

    async def _send_memory(self, content: memoryview, writer: asyncio.StreamWriter) -> None:
        while content:
            chunk = content[: self.pacer.chunk(_CHUNK)]
            await self._send(chunk, writer)
            content = content[len(chunk) :]

    async def _send_file(self, path: Path, offset: int, length: int, writer: asyncio.StreamWriter) -> None:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            end = offset + length
            while offset < end:
                chunk = await asyncio.to_thread(os.pread, descriptor, min(self.pacer.chunk(_CHUNK), end - offset), offset)
                if not chunk:
                    raise EOFError(f"{path} is shorter than the store says")
                offset += len(chunk)
                await self._send(chunk, writer)
        finally:
            os.close(descriptor)

    async def _send(self, chunk: bytes | memoryview, writer: asyncio.StreamWriter) -> None:
        await self.pacer.take(len(chunk))
        writer.write(chunk)
        await self._drain(writer)
        self._traffic.sent["blob"] += len(chunk)

    async def _drain(self, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(self._limits.stall):
            await writer.drain()
