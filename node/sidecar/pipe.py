"""The sidecar's end of the channel, in trio."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator

import trio

from ..processes.frames import FrameDecoder, Message, encode_frame

_READ_SIZE = 256 * 1024
_QUEUE = 4096


class Pipe:
    """Frames to and from the daemon. `post` never waits: a daemon that does not read loses notices, not our mesh."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
        self._decoder = FrameDecoder()
        self._outbox, self._queued = trio.open_memory_channel[bytes](_QUEUE)
        self.dropped = 0

    def post(self, message: Message) -> None:
        """Queue `message`; drop it if the queue is full."""
        try:
            self._outbox.send_nowait(encode_frame(message))
        except trio.WouldBlock:
            self.dropped += 1

    async def answer(self, message: Message) -> None:
        """Queue an answer, waiting for room."""
        await self._outbox.send(encode_frame(message))

    async def write(self) -> None:
        """Write what is queued, until the daemon is gone."""
        async for frame in self._queued:
            try:
                await self._stream.send_all(frame)
            except trio.BrokenResourceError:
                return

    async def __aiter__(self) -> AsyncIterator[Message]:
        """Yield the daemon's messages until it closes its end or dies."""
        while data := await self._read():
            for message in self._decoder.feed(data):
                yield message

    async def _read(self) -> bytes:
        try:
            return bytes(await self._stream.receive_some(_READ_SIZE))
        except trio.BrokenResourceError:
            return b""
