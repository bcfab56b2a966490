"""Serving the page until Ctrl-C, from this process: the daemon never waits for a browser."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import secrets
import signal
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import uvicorn

from ..errors import UserError
from .app import make_app
from .evaluation import Evaluation
from .feed import Feed
from .guard import Access
from .reader import Reader
from .state import State

_BACKLOG = 64
_CONNECTIONS = 256
_SHORTEST_TOKEN = 16


@dataclass(frozen=True)
class Serving:
    """Where, to whom, and every how many seconds there is news.

    `evaluates`: have the node measure each commit on held-out data; None: if it does not train.
    """

    host: str = "127.0.0.1"
    port: int = 0
    token: str = ""
    names: frozenset[str] = frozenset()
    evaluates: bool | None = None
    period: float = 2.0


def serve(reader: Reader, serving: Serving, announce: Callable[[str], None]) -> None:
    """Serve until told to stop; `announce` gets the address to open. Raises UserError."""
    token = _token(serving)
    with _listen(serving.host, serving.port) as listener:
        port = listener.getsockname()[1]
        access = Access(port, token, frozenset(name.lower() for name in serving.names))
        announce(_address(serving, port) + (f"?token={token}" if token else ""))
        asyncio.run(_serve(reader, serving, access, listener))


async def _serve(reader: Reader, serving: Serving, access: Access, listener: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1, "reader") as reading:

        async def read() -> State:
            return await loop.run_in_executor(reading, reader.read)

        feed = Feed(read, serving.period)
        server = _Server(uvicorn.Config(
            make_app(feed, access), http="h11", ws="none", lifespan="off", log_config=None, log_level="critical",
            access_log=False, server_header=False, proxy_headers=False, backlog=_BACKLOG, limit_concurrency=_CONNECTIONS,
            timeout_keep_alive=30, timeout_graceful_shutdown=1,
        ))  # fmt: skip
        work = [asyncio.create_task(feed.run())]
        if serving.evaluates is not False:
            work.append(asyncio.create_task(Evaluation(reader.control, serving.evaluates).run(feed)))

        def stop() -> None:
            feed.close()
            server.stop()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop)
        serving_task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            done, _ = await asyncio.wait([*work, serving_task], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            stop()
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)
            await asyncio.gather(serving_task, return_exceptions=True)
            await loop.run_in_executor(reading, reader.close)


class _Server(uvicorn.Server):
    """uvicorn without its own ideas about signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the loop."""
        yield

    def stop(self) -> None:
        """End in order; a second time, at once."""
        self.force_exit = self.should_exit
        self.should_exit = True


def is_loopback(host: str) -> bool:
    """Say whether only this machine can reach what listens on `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _token(serving: Serving) -> str:
    if serving.token and len(serving.token) < _SHORTEST_TOKEN:
        hint = f"use {_SHORTEST_TOKEN} or more, or leave it out: one is made"
        raise UserError(f"a token of {len(serving.token)} characters can be guessed", hint)
    return serving.token or ("" if is_loopback(serving.host) else secrets.token_urlsafe(24))


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        why, _, _ = (error.strerror or str(error)).partition(" (while")  # which repeats the address
        taken = error.errno in (errno.EADDRINUSE, errno.EACCES)
        hint = "choose another with --port, or 0 for any that is free" if taken else "--host is an address of this machine"
        raise UserError(f"the dashboard cannot listen on {host} port {port}: {why}", hint) from error


def _address(serving: Serving, port: int) -> str:
    host = next(iter(sorted(serving.names)), serving.host)
    if host in ("0.0.0.0", "::"):
        host = _outward()
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def _outward() -> str:
    """Return this machine's address as its routing table tells it: connecting a datagram socket sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])
