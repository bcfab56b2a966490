"""The control socket: how commands on this machine talk to the running daemon.

A Unix socket in the home that only its owner may open. One connection carries one request and its answer, each a frame (see
`frames`): a request is its arguments and its name as `op`; the answer is the result, or `error` with a line for people.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog

from ..errors import UserError
from ..home import Home
from ..processes.frames import FrameDecoder, FrameError, Message, encode_frame

log = structlog.get_logger()

Handler = Callable[[Message], Awaitable[Mapping[str, Any]]]

_READ_BYTES = 64 * 1024
_REQUEST_BYTES = 64 * 1024
_REQUEST_SECONDS = 5.0


class ControlError(UserError):
    """The daemon could not be asked, or refused."""


class NotRunning(ControlError):
    """No daemon runs in this home."""


class ControlServer:
    """Answers requests by name while it is open."""

    def __init__(self, path: Path, handlers: Mapping[str, Handler]) -> None:
        self._path = path
        self._handlers = handlers
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> ControlServer:
        """Listen. The caller holds the home's lock, so a socket that is there is a dead one."""
        self._path.unlink(missing_ok=True)
        previous = os.umask(0o177)
        try:
            self._server = await asyncio.start_unix_server(self._serve, self._path)
        finally:
            os.umask(previous)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
        self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_REQUEST_SECONDS):
                request = await _receive(reader)
            if request is not None:
                writer.write(encode_frame(await self._answer(request)))
                await writer.drain()
        except (OSError, FrameError):  # TimeoutError is an OSError; whoever asked is gone or speaks something else
            return
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, request: Message) -> Mapping[str, Any]:
        name = str(request.pop("op", ""))
        handler = self._handlers.get(name)
        if handler is None:
            return {"error": f"this node does not know the request {name!r}"}
        try:
            return await handler(request)
        except UserError as error:
            return {"error": error.message, "hint": error.hint}
        except Exception as error:  # a bug of ours, which whoever asked has to hear of too
            log.exception("a request failed", request=name)
            return {"error": f"the node failed at this: {error!r}", "hint": "its log says more; please report it"}


async def _receive(reader: asyncio.StreamReader) -> Message | None:
    decoder = FrameDecoder(_REQUEST_BYTES)
    while data := await reader.read(_READ_BYTES):
        for message in decoder.feed(data):
            return message
    return None


def call(home: Path, request: str, timeout: float = 10.0, **arguments: Any) -> dict[str, Any]:
    """Ask the daemon that runs in `home`, and return its answer. Raises NotRunning, or ControlError with its refusal."""
    path = Home(home).control_path
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(timeout)
        try:
            sock.connect(os.fspath(path))
            sock.sendall(encode_frame({**arguments, "op": request}))
            answer = _read_answer(sock)
        except TimeoutError as error:
            raise ControlError(f"the node in {home} does not answer", "see its log") from error
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise NotRunning(f"no node runs in {home}", "`collab-node seed` or `collab-node join INVITE` starts one") from error
        except (ConnectionResetError, BrokenPipeError) as error:
            raise NotRunning(f"the node in {home} ended while it was asked", "ask again if it is being restarted") from error
        except OSError as error:
            raise ControlError(f"the node in {home} cannot be asked: {error.strerror or error}") from error
    if "error" in answer:
        raise ControlError(str(answer["error"]), str(answer.get("hint", "")))
    return answer


def _read_answer(sock: socket.socket) -> Message:
    decoder = FrameDecoder()
    while data := sock.recv(_READ_BYTES):
        for message in decoder.feed(data):
            return message
    raise ConnectionResetError("it went away while it was asked")
