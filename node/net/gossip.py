"""The daemon's side of gossip: a sidecar under supervision, and the will to stay connected.

What was asked for outlives the sidecar: after a restart it listens on the same port, has the same topics and bans, is connected
to the same peers again, and sends what was published meanwhile (the last `queue` messages).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from ...protocol.identity import Identity
from ..processes.ipc import Channel, ChannelClosed, Child, FrameError, Message, RemoteFailure, spawn_child
from ..processes.supervise import Backoff, Supervisor
from . import addresses
from .errors import NetworkError
from .tasks import Tasks
from .traffic import Traffic

START_SECONDS = 120.0  # a busy or slow machine imports py-libp2p for a minute
CALL_SECONDS = 15.0
MESSAGE_BYTES = 64 * 1024
_DIALS_AT_ONCE = 8


@dataclass(frozen=True)
class GossipMessage:
    """A verified envelope's bytes, as its author published them; `via` is the peer that brought them."""

    topic: str
    data: bytes
    author: str
    via: str


@dataclass
class GossipCallbacks:
    """What the daemon is told. Called on its loop; they must not block."""

    on_message: Callable[[GossipMessage], None] = lambda message: None
    on_refused: Callable[[str, str, int], None] = lambda reason, peer, count: None
    on_line: Callable[[str], None] = lambda line: None
    on_death: Callable[[str, str], None] = lambda name, reason: None


@dataclass
class _Dial:
    peer_id: str
    failures: int = 0
    next_try: float = 0.0


class _Sidecar:
    """One life of the sidecar process."""

    def __init__(self, child: Child, reading: asyncio.Task[None]) -> None:
        self.child = child
        self.reading = reading
        self.info: Message = {}

    @property
    def channel(self) -> Channel:
        return self.child.channel

    async def wait(self) -> int:
        await self._read_all()
        self.child.kill()  # it may have closed its channel, or sent nonsense, and live on
        return await self.child.wait()

    async def stop(self) -> None:
        await self.child.stop(grace=3.0)
        await self._read_all()

    async def _read_all(self) -> None:
        await asyncio.wait({self.reading})  # not awaited directly: whoever cancels us would cancel it
        try:
            self.reading.result()
        except FrameError:
            return  # as good as dead


@dataclass
class Gossip:
    """Publishes to and hears `topics` through the sidecar."""

    identity: Identity
    host: str
    port: int
    topics: Sequence[str]
    traffic: Traffic
    callbacks: GossipCallbacks = field(default_factory=GossipCallbacks)
    limits: dict[str, Any] = field(default_factory=dict)
    queue: int = 256
    backoff: Backoff = field(default_factory=Backoff)
    random: Random = field(default_factory=Random)

    def __post_init__(self) -> None:
        self.peers: frozenset[str] = frozenset()
        self.supervisor = Supervisor(
            "sidecar",
            self._launch,
            on_ready=self._on_ready,
            on_death=self._on_death,
            backoff=self.backoff,
            random=self.random,
        )
        self._dials: dict[str, _Dial] = {}
        self._bans: set[str] = set()
        self._coordinators: frozenset[str] = frozenset()
        self._outbox: deque[tuple[str, bytes]] = deque(maxlen=self.queue)
        self._wake = asyncio.Event()
        self._tasks = Tasks()
        self._redial = Backoff(first=0.5, longest=30.0)

    async def start(self) -> None:
        """Start the sidecar. Raises NetworkError, for instance when the port is taken."""
        await self.supervisor.start()
        self._tasks.spawn(self.supervisor.run(), "gossip sidecar")
        self._tasks.spawn(self._stay_connected(), "gossip connections")

    async def stop(self) -> None:
        """Stop the sidecar."""
        await self._tasks.close()
        await self.supervisor.stop()

    async def failed(self) -> None:
        """Wait until a background task fails, and raise its error."""
        await self._tasks.failed()

    @property
    def addresses(self) -> list[str]:
        """Where the sidecar listens, with our peer id; empty while it is down."""
        current = self.supervisor.current
        return list(current.info["addresses"]) if current is not None else []

    async def _launch(self) -> _Sidecar:
        child = await spawn_child("collab.node.sidecar", on_line=self.callbacks.on_line)
        sidecar = _Sidecar(child, asyncio.create_task(self._read(child.channel)))
        try:
            sidecar.info = await child.channel.request(
                {
                    "kind": "start",
                    "seed": self.identity.seed,
                    "host": self.host,
                    "port": self.port,
                    "topics": list(self.topics),
                    "limits": self.limits,
                },
                START_SECONDS,
            )
        except RemoteFailure as error:
            await sidecar.stop()
            raise NetworkError(error.text) from error
        except TimeoutError as error:
            await sidecar.stop()
            raise NetworkError(f"the gossip sidecar did not start in {START_SECONDS:.0f} s: is this machine too busy?") from error
        except ChannelClosed as error:
            await sidecar.stop()
            raise NetworkError("the gossip sidecar did not start") from error
        except BaseException:
            await sidecar.stop()
            raise
        return sidecar

    async def _on_ready(self, sidecar: _Sidecar) -> None:
        self.port = int(sidecar.info["addresses"][0].split("/")[4])
        try:
            for peer in self._bans:
                await sidecar.channel.request({"kind": "ban", "peer": peer}, CALL_SECONDS)
            await sidecar.channel.request({"kind": "coordinators", "peers": sorted(self._coordinators)}, CALL_SECONDS)
            await asyncio.gather(*(self._dial(sidecar.channel, address) for address in list(self._dials)))
            while self._outbox:
                await self._send(sidecar.channel, *self._outbox[0])
                self._outbox.popleft()
        except (ChannelClosed, TimeoutError) as error:
            raise NetworkError("the gossip sidecar died while it started") from error

    def _on_death(self, name: str, reason: str) -> None:
        self.peers = frozenset()
        self.callbacks.on_death(name, reason)

    async def _read(self, channel: Channel) -> None:
        async for message in channel:
            match message["kind"]:
                case "message":
                    self.traffic.received["gossip"] += len(message["data"])
                    self.callbacks.on_message(
                        GossipMessage(message["topic"], message["data"], message["from"], message["via"])
                    )
                case "peers":
                    self.peers = frozenset(message["peers"])
                    self._wake.set()
                case "refused":
                    for reason, peer, count in message["counts"]:
                        self.traffic.refused[f"gossip_{reason}"] += count
                        self.callbacks.on_refused(reason, peer, count)

    async def publish(self, topic: str, data: bytes) -> None:
        """Publish an envelope's bytes; queued while the sidecar is down. Raises NetworkError if it is too large."""
        allowed = int(self.limits.get("message_bytes", MESSAGE_BYTES))
        if len(data) > allowed:
            raise NetworkError(f"a message of {len(data)} bytes; gossip carries {allowed}")
        if topic not in self.topics:
            raise NetworkError(f"not joined: {topic}")
        current = self.supervisor.current
        if current is None:
            self._outbox.append((topic, data))
            return
        try:
            await self._send(current.channel, topic, data)
        except (ChannelClosed, TimeoutError):
            self._outbox.append((topic, data))

    async def _send(self, channel: Channel, topic: str, data: bytes) -> None:
        try:
            await channel.request({"kind": "publish", "topic": topic, "data": data}, CALL_SECONDS)
        except RemoteFailure as error:
            raise NetworkError(error.text) from error
        self.traffic.sent["gossip"] += len(data)

    async def connect(self, address: str) -> bool:
        """Connect to the peer at `address` and remember it: it is dialed again whenever it is lost, until `forget`.

        Returns whether it is connected now. Raises NetworkError if `address` is none.
        """
        _, peer_id = addresses.split(address)
        self._dials.setdefault(address, _Dial(peer_id))
        current = self.supervisor.current
        if current is None or peer_id == self.identity.peer_id:
            return False
        try:
            return await self._dial(current.channel, address)
        except (ChannelClosed, TimeoutError):
            return False

    def forget(self, address: str) -> None:
        """Dial `address` no more. An existing connection stays."""
        self._dials.pop(address, None)

    @property
    def remembered(self) -> dict[str, int]:
        """The remembered addresses and how often in a row each has failed."""
        return {address: dial.failures for address, dial in self._dials.items()}

    async def ban(self, peer_id: str) -> None:
        """Drop the peer's connection and messages, now and after restarts."""
        self._bans.add(peer_id)
        for address in [address for address, dial in self._dials.items() if dial.peer_id == peer_id]:
            self.forget(address)
        await self._ask({"kind": "ban", "peer": peer_id})

    async def unban(self, peer_id: str) -> None:
        """Hear the peer again."""
        self._bans.discard(peer_id)
        await self._ask({"kind": "unban", "peer": peer_id})

    async def follow(self, coordinators: Collection[str]) -> None:
        """Let amendments pass that one of these has signed, and no others, now and after restarts."""
        self._coordinators = frozenset(coordinators)
        await self._ask({"kind": "coordinators", "peers": sorted(self._coordinators)})

    async def stats(self) -> Message:
        """Return the sidecar's counters: `peers`, `mesh` (peers by topic), `inbound`, `inbound_refused`, `dropped`."""
        return await self._ask({"kind": "stats"})

    async def _ask(self, request: Message) -> Message:
        current = self.supervisor.current
        if current is None:
            return {}
        try:
            return await current.channel.request(request, CALL_SECONDS)
        except (ChannelClosed, RemoteFailure, TimeoutError):
            return {}

    async def _dial(self, channel: Channel, address: str) -> bool:
        try:
            await channel.request({"kind": "connect", "address": address}, CALL_SECONDS)
        except RemoteFailure:
            reached = False
        else:
            reached = True
        dial = self._dials.get(address)
        if dial is not None:
            dial.failures = 0 if reached else dial.failures + 1
            pause = self._redial.pause(max(dial.failures, 1), self.random.random())
            dial.next_try = time.monotonic() + pause
        return reached

    async def _stay_connected(self) -> None:
        while True:
            self._wake.clear()
            current = self.supervisor.current
            if current is not None:
                try:
                    await asyncio.gather(*(self._dial(current.channel, address) for address in self._due()))
                except (ChannelClosed, TimeoutError):
                    self._wake.clear()
            try:
                async with asyncio.timeout(1.0):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _due(self) -> list[str]:
        now = time.monotonic()
        due = [
            address
            for address, dial in self._dials.items()
            if dial.peer_id not in self.peers and dial.peer_id != self.identity.peer_id and dial.next_try <= now
        ]
        return due[:_DIALS_AT_ONCE]
