"""The daemon's conversations with its child processes: frames over a socketpair that the child inherits.

A request carries an `id`, its answer the same number as `re`, with `error` and `text` in place of a result when it
failed. Any other message is a notice. On the asyncio side (`Channel`) whoever iterates over the channel drives it: answers
wake the requests that wait for them, notices come out of the loop, and the end of the loop means that the other process is
gone. The plain side (`BlockingChannel`) belongs to a child without an event loop; the sidecar has its own in trio.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import select
import signal
import socket
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from .frames import ChannelClosed, FrameDecoder, FrameError, Message, encode_frame
from .inherit import inherited_socket

__all__ = [
    "BlockingChannel", "Channel", "ChannelClosed", "Child", "FrameError", "Message", "RemoteFailure",
    "failure", "inherited_socket", "reply", "spawn_child",
]  # fmt: skip

_READ_SIZE = 256 * 1024
_MAX_LINE = 8 * 1024


class RemoteFailure(Exception):
    """The other process could not do what it was asked; `code` is a short stable word, `text` one line for people."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text or code)
        self.code = code
        self.text = text


def reply(request: Message, **fields: Any) -> Message:
    """Return the answer to `request`; `fields` are the result."""
    return {**fields, "re": request["id"]}


def failure(request: Message, code: str, text: str) -> Message:
    """Return the answer that says that `request` failed."""
    return {"re": request["id"], "error": code, "text": text}


class Channel:
    """The asyncio end. Iterate over it for notices (from one task); `request` from as many tasks as you like."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._decoder = FrameDecoder()
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Message]] = {}
        self._closed = False

    @classmethod
    async def over(cls, sock: socket.socket) -> Channel:
        """Wrap a connected stream socket, which the channel owns from then on."""
        sock.setblocking(False)
        return cls(*await asyncio.open_connection(sock=sock, limit=_READ_SIZE))

    async def send(self, message: Mapping[str, Any]) -> None:
        """Send a notice, and wait while the other side is slow to read. Raises ChannelClosed or FrameError."""
        frame = encode_frame(message)
        if self._closed:
            raise ChannelClosed("the other process is gone")
        try:
            self._writer.write(frame)
            await self._writer.drain()
        except OSError as error:
            raise ChannelClosed("the other process is gone") from error

    async def request(self, message: Mapping[str, Any], timeout: float | None = None) -> Message:
        """Send a request and return its answer; needs somebody who iterates.

        Raises RemoteFailure if the answer is a failure, ChannelClosed if none can come any more, TimeoutError after
        `timeout` seconds.
        """
        number = next(self._ids)
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            async with asyncio.timeout(timeout):
                await self.send({**message, "id": number})
                return _result(await answer)
        finally:
            self._waiting.pop(number, None)

    async def __aiter__(self) -> AsyncIterator[Message]:
        try:
            while data := await self._read():
                for message in self._decoder.feed(data):
                    if not self._resolve(message):
                        yield message
        finally:
            self._abandon()

    async def _read(self) -> bytes:
        try:
            return await self._reader.read(_READ_SIZE)
        except OSError:
            return b""

    def _resolve(self, message: Message) -> bool:
        if "re" not in message:
            return False
        answer = self._waiting.pop(message["re"], None)
        if answer is not None and not answer.done():
            answer.set_result(message)
        return True

    def _abandon(self) -> None:
        self._closed = True
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(ChannelClosed("the other process is gone"))
        self._waiting.clear()

    async def close(self) -> None:
        """Close our end: the child sees the end of its input and stops."""
        self._abandon()
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except OSError:
            return  # it was closed from the other side first


def _result(answer: Message) -> Message:
    if "error" in answer:
        raise RemoteFailure(str(answer["error"]), str(answer.get("text", "")))
    return answer


class BlockingChannel:
    """The end of a child without an event loop. One thread uses it."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(True)
        self._socket = sock
        self._decoder = FrameDecoder()
        self._ready: deque[Message] = deque()

    def send(self, message: Mapping[str, Any]) -> None:
        """Send `message`, waiting for room. Raises ChannelClosed or FrameError."""
        try:
            self._socket.sendall(encode_frame(message))
        except OSError as error:
            raise ChannelClosed("the daemon is gone") from error

    def receive(self) -> Message:
        """Wait for the next message. Raises ChannelClosed at the end, FrameError for bytes that are no frame."""
        while not self._ready:
            self._fill()
        return self._ready.popleft()

    def poll(self) -> Message | None:
        """Return the next message if a whole one is there, else None at once. Raises as `receive` does."""
        while not self._ready and select.select([self._socket], [], [], 0)[0]:
            self._fill()
        return self._ready.popleft() if self._ready else None

    def _fill(self) -> None:
        try:
            data = self._socket.recv(_READ_SIZE)
        except OSError as error:
            raise ChannelClosed("the daemon is gone") from error
        if not data:
            raise ChannelClosed("the daemon is gone")
        self._ready.extend(self._decoder.feed(data))

    def close(self) -> None:
        """Close our end."""
        self._socket.close()


class Child:
    """A running child process and the channel to it."""

    def __init__(self, process: asyncio.subprocess.Process, channel: Channel, output: asyncio.Task[None]) -> None:
        self.process = process
        self.channel = channel
        self._output = output

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self.process.pid

    async def wait(self) -> int:
        """Wait until the child has ended and all it printed was forwarded; return its exit status."""
        status = await self.process.wait()
        await self._drain_output()
        return status

    async def _drain_output(self) -> None:
        await asyncio.wait({self._output})  # not awaited directly: whoever cancels us would cancel it
        self._output.result()

    async def stop(self, grace: float = 5.0) -> int:
        """Close the channel, give the child `grace` seconds to end by itself, then kill it; return its exit status."""
        await self.channel.close()
        try:
            return await asyncio.wait_for(asyncio.shield(self.process.wait()), grace)
        except TimeoutError:
            self.kill()
            return await self.process.wait()
        finally:
            await self._drain_output()

    def kill(self) -> None:
        """Kill the child and what it started: it leads a process group of its own."""
        if self.process.returncode is None:
            os.killpg(self.process.pid, signal.SIGKILL)


async def spawn_child(
    module: str,
    args: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    on_line: Callable[[str], None] = lambda line: None,
) -> Child:
    """Start `python -m module *args FD` with its end of a new channel as descriptor FD.

    It runs in its own session, so that Ctrl-C on a terminal reaches the daemon alone, which then stops it in order. What
    it prints goes to `on_line`, a line at a time (at most 8 KiB each). `env` is added to our environment.
    """
    ours, theirs = socket.socketpair()
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", module, *args, str(theirs.fileno()),
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, **(env or {}), "PYTHONSAFEPATH": "1"},
            pass_fds=(theirs.fileno(),), start_new_session=True,
        )  # fmt: skip
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    assert process.stdout is not None
    output = asyncio.create_task(_forward_lines(process.stdout, on_line))
    return Child(process, await Channel.over(ours), output)


async def _forward_lines(stream: asyncio.StreamReader, on_line: Callable[[str], None]) -> None:
    pending = b""
    while data := await stream.read(_MAX_LINE):
        *lines, pending = (pending + data).split(b"\n")
        while len(pending) >= _MAX_LINE:
            lines.append(pending[:_MAX_LINE])
            pending = pending[_MAX_LINE:]
        for line in lines:
            _forward(line, on_line)
    if pending:
        _forward(pending, on_line)


def _forward(line: bytes, on_line: Callable[[str], None]) -> None:
    for start in range(0, max(len(line), 1), _MAX_LINE):
        on_line(line[start : start + _MAX_LINE].decode(errors="replace").rstrip())
