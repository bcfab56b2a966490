"""Serving the page until Ctrl-C, from this process: the daemon never waits for a browser."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import secrets
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import uvicorn

from ..control import ControlError
from ..errors import UserError
from .app import make_app
from .feed import Feed
from .guard import Access
from .reader import Reader
from .state import State

_BACKLOG = 64
_CONNECTIONS = 256
_SHORTEST_TOKEN = 16
_EVALUATION_SECONDS = 300.0
_EVALUATION_PAUSE = 2.0
# Of the trainer's time, at most this part goes into measuring.
_EVALUATION_SHARE = 0.05


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
    with ThreadPoolExecutor(1, "reader") as reading, ThreadPoolExecutor(1, "evaluation") as measuring:

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
            evaluation = Evaluation(reader.evaluate, serving.evaluates)
            work.append(asyncio.create_task(evaluation.run(feed, lambda: loop.run_in_executor(measuring, evaluation.measure))))

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


class Evaluation:
    """Has the node measure its newest weights after a commit, and leaves it most of its time for other things."""

    def __init__(self, evaluate: Callable[[float], None], always: bool | None) -> None:
        """`evaluate` takes the seconds after which to give up. `always`: see `Serving.evaluates`."""
        self._evaluate = evaluate
        self._always = always
        self._took = 0.0

    async def run(self, feed: Feed, measure: Callable[[], asyncio.Future[None]]) -> None:
        """Measure whenever there is a new commit, until cancelled."""
        measured = ""
        while True:
            commit = self.wanted(feed.state)
            if commit and commit != measured:
                await measure()
                measured = commit
            await asyncio.sleep(max(_EVALUATION_PAUSE, self._took / _EVALUATION_SHARE))

    def measure(self) -> None:
        """Measure once; what goes wrong shows on the page as a value that is missing."""
        began = time.monotonic()
        with contextlib.suppress(ControlError):
            self._evaluate(_EVALUATION_SECONDS)
        self._took = time.monotonic() - began

    def wanted(self, state: State) -> str:
        """Return the commit to measure in this state, "" if none."""
        node, totals = (state.values.get(name, {}) for name in ("node", "totals"))
        wanted = node.get("running") and (self._always or not node.get("trains"))
        return str(totals.get("commit", "")) if wanted else ""


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
        problem = f"the dashboard cannot listen on {host} port {port}: {error.strerror or error}"
        raise UserError(problem, "choose another with --port, or 0 for any that is free") from error


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
