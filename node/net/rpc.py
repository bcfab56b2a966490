"""Small questions and answers between peers, one stream a call, with bounds on size, rate and time both ways."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ...protocol.canonical import Limits, decode, encode
from ...protocol.errors import RemoteProtocolError
from ..rates import Buckets, Rate
from . import wire
from .errors import NetworkError
from .p2p import P2PHost
from .traffic import Traffic

PROTOCOL = "collab/rpc/1"
_OK, _REFUSED = b"\x00", b"\x01"
_REASON_BYTES = 64
_RATE = Rate(20.0, 60.0)

Handler = Callable[[str, bytes], Awaitable[bytes]]


@dataclass(frozen=True)
class RpcLimits:
    """`request` in bytes, `seconds` for a whole call, `calls` at once, and each peer's rate."""

    request: int = 64 * 1024
    seconds: float = 20.0
    calls: int = 64
    rate: Rate = _RATE


class Rpc:
    """Calls and answers calls. A handler refuses by raising RemoteProtocolError, whose reason the caller hears."""

    def __init__(self, host: P2PHost, traffic: Traffic, limits: RpcLimits | None = None) -> None:
        self._host = host
        self._traffic = traffic
        self._limits = limits or RpcLimits()
        self._buckets = Buckets(self._limits.rate)
        self._handlers: dict[str, Handler] = {}
        self._running = 0

    async def start(self) -> None:
        """Take calls from now on."""
        await self._host.handle(PROTOCOL, self._serve)

    def register(self, name: str, handler: Handler) -> None:
        """Answer calls of `name` with `await handler(peer_id, body)`."""
        self._handlers[name] = handler

    async def call(self, peer_id: str, name: str, body: bytes, *, timeout: float = 10.0, limit: int = 64 * 1024) -> bytes:
        """Ask a peer and return its answer of at most `limit` bytes.

        Raises NetworkError if it cannot be had in `timeout` seconds, RemoteProtocolError if the peer refuses or misbehaves.
        """
        request = encode({"name": name, "body": body})
        try:
            async with asyncio.timeout(timeout):
                reader, writer = await self._host.open_stream(peer_id, PROTOCOL)
                try:
                    wire.write_frame(writer, request)
                    await writer.drain()
                    answer = await self._answer(reader, limit)
                finally:
                    await wire.close(writer)
        except (OSError, EOFError) as error:
            raise NetworkError(f"{name} at {peer_id}: {error or type(error).__name__}") from error
        self._traffic.sent["rpc"] += len(request)
        self._traffic.received["rpc"] += len(answer)
        return answer

    async def _answer(self, reader: asyncio.StreamReader, limit: int) -> bytes:
        status = await reader.readexactly(1)
        if status == _REFUSED:
            reason = await wire.read_frame(reader, _REASON_BYTES)
            raise RemoteProtocolError("refused", reason.decode("ascii", "replace"))
        if status != _OK:
            raise RemoteProtocolError("malformed", "status of an answer")
        return await wire.read_frame(reader, limit)

    async def _serve(self, peer_id: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(self._limits.seconds):
                status, answer = await self._handled(peer_id, reader)
                writer.write(status)
                wire.write_frame(writer, answer)
                await writer.drain()
                self._traffic.sent["rpc"] += len(answer)
                if status == _REFUSED:
                    await wire.linger(reader)
        except (OSError, EOFError):
            return  # the caller left, or was too slow
        finally:
            await wire.close(writer)

    async def _handled(self, peer_id: str, reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
        try:
            data = await wire.read_frame(reader, self._limits.request)  # who is slow to ask keeps nobody else waiting
            self._traffic.received["rpc"] += len(data)
            self._running += 1
            try:
                return _OK, await self._dispatch(peer_id, data)
            finally:
                self._running -= 1
        except RemoteProtocolError as error:
            self._traffic.refused[f"rpc_{error.reason}"] += 1
            return _REFUSED, error.reason.encode()[:_REASON_BYTES]

    async def _dispatch(self, peer_id: str, data: bytes) -> bytes:
        if not self._buckets.take(peer_id, asyncio.get_running_loop().time()):
            raise RemoteProtocolError("rate_limited")
        if self._running > self._limits.calls:
            raise RemoteProtocolError("busy")
        request = decode(data, Limits(size=self._limits.request, depth=2, items=16))
        match request:
            case {"name": str(name), "body": bytes(body), **rest} if not rest:
                handler = self._handlers.get(name)
            case _:
                raise RemoteProtocolError("malformed", "request")
        if handler is None:
            raise RemoteProtocolError("unknown_call")
        return await handler(peer_id, body)
