"""hivemind's p2pd under supervision: connections, streams, NAT traversal, with our key and our errors.

`P2PHost` outlives the p2pd process. When that dies it starts another on the same port with the same key, registers the stream
handlers again, dials the bootstrap peers and runs the `on_restart` hooks. Bootstrap peers are dialed by us and not by p2pd,
which refuses to start when none of them answers.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ...protocol.identity import Identity
from ..processes.supervise import Backoff, Supervisor
from . import addresses, control
from .errors import NetworkError
from .hivemind_parts import P2P, ControlFailure, DispatchFailure, Multiaddr, P2PDaemonError, P2PHandlerError

Reachability = Literal["auto", "public", "outgoing"]
StreamHandler = Callable[[str, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Hook = Callable[[], Awaitable[None]]

_ORPHAN_SECONDS = 2.0
_STREAMS_OF_A_PEER = 32  # fetching takes 8, and a call one
_STREAMS = 512  # each is a file that we hold open

FOREIGN_ERRORS = (
    ControlFailure, DispatchFailure, P2PDaemonError, P2PHandlerError, OSError, EOFError, ValueError, TimeoutError,
)  # fmt: skip


@dataclass(frozen=True)
class P2POptions:
    """Where to listen, whom to dial, and how others reach us.

    `reachability`: `public` nodes accept connections and relay for others; `outgoing` nodes never listen and are reached over a
    relay; `auto` finds out. `announce` are host names or addresses to tell others instead of the ones we see.
    """

    host: str = "0.0.0.0"
    port: int = 0
    bootstrap: tuple[str, ...] = ()
    reachability: Reachability = "auto"
    announce: tuple[str, ...] = ()
    dial_seconds: float = 10.0


class _P2PInSession(P2P):  # type: ignore[misc]  # hivemind has no types
    """p2pd in a session of its own, as our other children: Ctrl-C on a terminal reaches the daemon alone."""

    @staticmethod
    def _make_process_args(*args: Any, **options: Any) -> list[str]:
        command: list[str] = P2P._make_process_args(*args, **options)
        setsid = shutil.which("setsid")  # of util-linux; it becomes p2pd, with the same process id
        return [setsid, *command] if setsid is not None else command


class _Daemon:
    """One life of p2pd."""

    def __init__(self, p2p: P2P) -> None:
        self.p2p = p2p

    async def wait(self) -> int:
        return int(await self.p2p._child.wait())

    async def stop(self) -> None:
        await self.p2p.shutdown()
        client = self.p2p._client.control
        # When p2pd was killed these end with an error that nobody reads, which asyncio would report much later.
        await asyncio.gather(
            *(task for task in (client._read_task, client._write_task, self.p2p._reader_task) if task is not None),
            return_exceptions=True,
        )


class P2PHost:
    """Our place on the libp2p network. `bootstrap` are the addresses that it dials whenever it starts; they may change."""

    def __init__(
        self,
        identity: Identity,
        identity_path: Path,
        options: P2POptions,
        *,
        on_death: Callable[[str, str], None] = lambda name, reason: None,
        backoff: Backoff | None = None,
    ) -> None:
        """`identity_path` is where p2pd reads the key from: written with mode 0600 if it is not there."""
        self.peer_id = identity.peer_id
        self.options = options
        self.on_restart: list[Hook] = []
        self.bootstrap = options.bootstrap
        self.banned: set[str] = set()
        self._identity = identity
        self._identity_path = identity_path
        self._port = options.port
        self._handlers: dict[str, StreamHandler] = {}
        self._serving: dict[asyncio.Task[Any], str] = {}
        self._started = False
        self.supervisor = Supervisor(
            "p2pd", self._launch, on_ready=self._on_ready, on_death=on_death, backoff=backoff
        )

    async def start(self) -> None:
        """Start p2pd and listen. Raises NetworkError."""
        if self._port and self.options.reachability != "outgoing":
            await self._wait_for_port()
        _write_identity(self._identity_path, self._identity)
        await self.supervisor.start()
        self._started = True

    async def _wait_for_port(self) -> None:
        # After a kill -9 of the daemon its p2pd needs a moment to notice: 0.1 s on an idle machine.
        deadline = time.monotonic() + (_ORPHAN_SECONDS if self._identity_path.exists() else 0.0)
        while True:
            try:
                return addresses.check_port(self.options.host, self._port)
            except NetworkError:
                if time.monotonic() >= deadline:
                    raise
            await asyncio.sleep(0.1)

    @property
    def port(self) -> int:
        """The TCP port that p2pd listens on; 0 while that is not known, and on a node that does not listen."""
        return self._port

    async def run(self) -> None:
        """Keep p2pd running, for ever."""
        await self.supervisor.run()

    async def stop(self) -> None:
        """Stop p2pd, and the handlers that still serve somebody."""
        self._started = False
        serving = list(self._serving)
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
        await self.supervisor.stop()

    @property
    def p2p(self) -> P2P:
        """hivemind's object for the p2pd that runs now. Raises NetworkError between a death and the restart."""
        if self.supervisor.current is None:
            raise NetworkError("p2pd is being restarted")
        return self.supervisor.current.p2p

    async def _launch(self) -> _Daemon:
        try:
            p2p = await _P2PInSession.create(**self._arguments())
        except FOREIGN_ERRORS as error:
            raise NetworkError(f"p2pd did not start: {_line(error)}") from error
        daemon = _Daemon(p2p)
        if str(p2p.peer_id) != self.peer_id:
            await daemon.stop()
            raise NetworkError(f"{self._identity_path} holds the key of another node; remove it")
        return daemon

    def _arguments(self) -> dict[str, Any]:
        options = self.options
        local = addresses.is_loopback(options.host)
        outgoing = options.reachability == "outgoing"
        arguments: dict[str, Any] = {
            "identity_path": str(self._identity_path),
            "check_if_identity_free": False,  # starts a second p2pd for the check
            "host_maddrs": [addresses.tcp(options.host, self._port)],
            "announce_maddrs": [addresses.tcp(host, self._port) for host in options.announce] or None,
            "dht_mode": "client" if outgoing else "server",
            "auto_nat": not local,
            "nat_port_map": not local and options.reachability == "auto",
            "use_auto_relay": outgoing or (not local and options.reachability == "auto"),
            "no_listen": outgoing,
        }
        if outgoing:
            arguments.update(host_maddrs=None, force_reachability="private")
        elif local or options.reachability == "public":
            arguments["force_reachability"] = "public"
        if arguments["use_auto_relay"] and self.bootstrap:
            arguments["trusted_relays"] = list(self.bootstrap)
        return arguments

    async def _on_ready(self, daemon: _Daemon) -> None:
        for name in self._handlers:
            await self._register(daemon.p2p, name)
        if not self._port:
            self._port = _tcp_port(await daemon.p2p.get_visible_maddrs()) if self.options.reachability != "outgoing" else 0
        if self._started:
            self.supervisor.current = daemon  # the hooks use it
            await self.dial_bootstrap()
            for hook in self.on_restart:
                await hook()

    async def handle(self, name: str, handler: StreamHandler) -> None:
        """Let peers open streams to `handler(peer_id, reader, writer)`; kept over restarts. The handler closes the writer."""
        known = name in self._handlers
        self._handlers[name] = handler
        if self.supervisor.current is not None and not known:
            await self._register(self.supervisor.current.p2p, name)

    async def _register(self, p2p: P2P, name: str) -> None:
        async def serve(info: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            peer_id = str(info.peer_id)
            if not self._admits(peer_id):
                writer.transport.abort()
                return
            task = asyncio.current_task()
            assert task is not None
            self._serving[task] = peer_id
            try:
                await self._handlers[name](peer_id, reader, writer)
            except asyncio.CancelledError:
                writer.transport.abort()  # and no more: asyncio reports a cancelled handler of a server as an error
            finally:
                del self._serving[task]

        try:
            await p2p.add_binary_stream_handler(name, serve)
        except FOREIGN_ERRORS as error:
            raise NetworkError(f"p2pd does not take the handler {name}: {_line(error)}") from error

    def _admits(self, peer_id: str) -> bool:
        of_peer = sum(peer == peer_id for peer in self._serving.values())
        return peer_id not in self.banned and of_peer < _STREAMS_OF_A_PEER and len(self._serving) < _STREAMS

    async def connections(self) -> int:
        """Return how many peers p2pd is connected with. Raises NetworkError."""
        try:
            return len(await self.p2p.list_peers())
        except FOREIGN_ERRORS as error:
            raise NetworkError(f"p2pd does not answer: {_line(error)}") from error

    async def open_stream(
        self, peer_id: str, name: str, timeout: float = 15.0
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a stream to a peer's handler. Raises NetworkError. The caller closes the writer."""
        try:
            async with asyncio.timeout(timeout):
                return await control.open_stream(self.p2p, peer_id, name)
        except FOREIGN_ERRORS as error:
            raise NetworkError(f"cannot open {name} at {peer_id}: {_line(error)}") from error

    async def connect(self, peer_id: str, routes: Sequence[str]) -> None:
        """Connect to a peer at one of its `routes` (multiaddresses without the peer id). Raises NetworkError."""
        try:
            async with asyncio.timeout(self.options.dial_seconds):
                await control.connect(self.p2p, peer_id, routes)
        except FOREIGN_ERRORS as error:
            raise NetworkError(f"cannot reach {peer_id}: {_line(error)}") from error

    async def dial_bootstrap(self) -> list[str]:
        """Dial all bootstrap peers at once and return the addresses that answered; those of ourselves are left out."""
        others = [address for address in self.bootstrap if addresses.split(address)[1] != self.peer_id]
        results = await asyncio.gather(*(self._dial(address) for address in others))
        return [address for address, reached in zip(others, results, strict=True) if reached]

    async def _dial(self, address: str) -> bool:
        route, peer_id = addresses.split(address)
        try:
            await self.connect(peer_id, [route])
        except NetworkError:
            return False
        return True

    async def peers(self) -> set[str]:
        """Return the peers we have a connection to. Raises NetworkError."""
        try:
            async with asyncio.timeout(5.0):
                return {str(peer.peer_id) for peer in await self.p2p.list_peers()}
        except FOREIGN_ERRORS as error:
            raise NetworkError(f"p2pd does not answer: {_line(error)}") from error

    async def dial_strings(self) -> list[str]:
        """Return the addresses at which others reach us, with our peer id. Empty while we have none."""
        try:
            async with asyncio.timeout(5.0):
                found = [str(address) for address in await self.p2p.get_visible_maddrs(latest=True)]
        except ValueError:
            return []  # hivemind's way to say that there is none yet
        except FOREIGN_ERRORS as error:
            raise NetworkError(f"p2pd does not answer: {_line(error)}") from error
        return [address for address in found if addresses.is_address(address)]


def _tcp_port(visible: Sequence[Multiaddr]) -> int:
    for address in visible:
        parts = str(address).split("/")
        if parts[3] == "tcp":
            return int(parts[4])
    raise NetworkError("p2pd listens on no TCP port")


def _write_identity(path: Path, identity: Identity) -> None:
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(identity.libp2p_bytes())
    except OSError as error:
        raise NetworkError(f"cannot write {path}: {error.strerror}") from error


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text[:300] or type(error).__name__
