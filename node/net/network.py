"""A node's whole network, composed: p2pd and its streams, the directory in the DHT, blobs, calls, and gossip.

`start` begins everything that is independent at once, because a volunteer waits for it. After that three loops run: one tells
the directory about us, one looks there for peers to gossip with, and one keeps pinging the bootstrap peers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from ...protocol.canonical import Limits, decode, encode
from ...protocol.errors import RemoteProtocolError
from ...protocol.identity import Identity
from . import addresses
from .blob_limits import BlobLimits
from .blobs import BlobServer, BlobSink, BlobSource
from .directory import Directory, expires_in
from .errors import NetworkError, NobodyAnswers
from .fetch import BlobFetcher, OnFault
from .gossip import Gossip, GossipCallbacks
from .p2p import P2PHost, P2POptions, Reachability
from .records import PeerRecord
from .rpc import Rpc
from .tasks import Tasks
from .traffic import Traffic

HELLO = "hello"
_OTHERS_SECONDS = 1.0
_PATIENCE = 6  # failed dials in a row, about a minute, after which a peer that was lost is forgotten
_HELLO_LIMITS = Limits(size=4096, depth=3, items=16)


@dataclass(frozen=True)
class NetworkOptions:
    """What a person can set. `home` holds p2pd's key file. Ports of 0 are chosen by the system.

    `bootstrap` are full addresses of p2pd of the event's bootstrap peers; with `wait_for_bootstrap` a start without any of them
    is an error, without it (on a bootstrap node) they are tried for ever. Every `announce_seconds` we publish a record of
    ourselves that lives three times as long, every `rejoin_seconds` the bootstrap peers are pinged. The directory is read every
    `discover_seconds` at first, growing to `discover_slowest` while `gossip_peers` (or all that there are) are connected.
    """

    home: Path
    host: str = "0.0.0.0"
    port: int = 0
    gossip_port: int = 0
    bootstrap: tuple[str, ...] = ()
    reachability: Reachability = "auto"
    announce: tuple[str, ...] = ()
    wait_for_bootstrap: bool = True
    gossip_peers: int = 12
    announce_seconds: float = 30.0
    rejoin_seconds: float = 30.0
    discover_seconds: float = 3.0
    discover_slowest: float = 30.0
    topics: tuple[str, ...] = ()
    blobs: BlobLimits = field(default_factory=BlobLimits)


@dataclass(frozen=True)
class Standing:
    """What we tell others about ourselves."""

    head: bytes | None = None
    round: int = 0
    trains: bool = False
    version: str = ""
    name: str = ""
    metrics_port: int = 0


@dataclass
class NetworkCallbacks(GossipCallbacks):
    """As for gossip; and a peer's fault in a transfer, and who we are at the moment."""

    on_fault: OnFault = lambda peer, reason: None
    standing: Callable[[], Standing] = Standing


class Network:
    """The network of one node in one event."""

    def __init__(
        self,
        identity: Identity,
        options: NetworkOptions,
        event: bytes,
        source: BlobSource,
        sink: BlobSink,
        callbacks: NetworkCallbacks | None = None,
        random: Random | None = None,
    ) -> None:
        """`event` is the event's 32-byte id; the default topic is its hex text."""
        self.identity = identity
        self.options = options
        self.event = event
        self.traffic = Traffic()
        self.callbacks = callbacks or NetworkCallbacks()
        self._random = random or Random()
        self._bootstrap_peers = _peers_at(options.bootstrap)
        self._moved = asyncio.Event()
        self.topics = options.topics or (event.hex(),)
        self.host = P2PHost(
            identity,
            options.home / "p2pd.key",
            P2POptions(options.host, options.port, options.bootstrap, options.reachability, options.announce),
            on_death=self.callbacks.on_death,
        )
        self.directory = Directory(
            identity, self.host, event, self.traffic, client_mode=options.reachability == "outgoing"
        )
        self.blobs = BlobServer(self.host, source, self.traffic, options.blobs)
        self.fetcher = BlobFetcher(self.host, source, sink, self.traffic, options.blobs, self.callbacks.on_fault)
        self.rpc = Rpc(self.host, self.traffic)
        self.gossip = Gossip(
            identity, options.host, options.gossip_port, self.topics, self.traffic, self.callbacks, random=self._random
        )
        self._tasks = Tasks()
        self.host.on_restart.append(self._restart_directory)
        self.rpc.register(HELLO, self._hello)
        self._known: dict[str, PeerRecord] = {}

    async def start(self) -> None:
        """Join the network. Raises NetworkError with one line for a person; then nothing is left running."""
        try:
            await _both(self.gossip.start(), self._start_host())
            reached = await self._reach_bootstrap()
            await self.directory.start(reached)
            await self._greet(reached)
        except BaseException:
            await self.stop()
            raise
        self._tasks.spawn(self._every(self.options.announce_seconds, self.announce), "announce")
        self._tasks.spawn(self._discover(), "discover")
        self._tasks.spawn(self._every(self.options.rejoin_seconds, self._rejoin, self._moved), "rejoin")

    async def _start_host(self) -> None:
        await self.host.start()
        self._tasks.spawn(self.host.run(), "p2pd")
        await self.rpc.start()
        await self.blobs.start()

    async def _reach_bootstrap(self) -> list[str]:
        reached = await self.host.dial_bootstrap(_OTHERS_SECONDS)  # `_rejoin` tries the others again at once
        others = [address for address in self.bootstrap if addresses.split(address)[1] != self.identity.peer_id]
        if others and not reached and self.options.wait_for_bootstrap:
            raise NobodyAnswers(f"none of the bootstrap peers answers: {', '.join(others)}")
        return reached

    async def stop(self) -> None:
        """Leave the network."""
        try:
            await self._tasks.close()
        finally:
            await asyncio.gather(self._stop_host(), self.gossip.stop())

    async def _stop_host(self) -> None:
        await self.directory.stop()
        await self.host.stop()

    async def failed(self) -> None:
        """Wait until a background task fails by a bug, and raise its error: for the daemon's task group."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tasks.failed())
            group.create_task(self.gossip.failed())

    # Where the event is found

    @property
    def bootstrap(self) -> tuple[str, ...]:
        """The addresses of the bootstrap peers."""
        return self.host.bootstrap

    def find_at(self, bootstrap: Sequence[str]) -> None:
        """Find the event at these addresses from now on: they are dialed at once, those before are not dialed again.

        Connections with those before stay while they last. Raises NetworkError for what is no address.
        """
        before, self._bootstrap_peers = self._bootstrap_peers, _peers_at(bootstrap)
        self.host.bootstrap = tuple(bootstrap)
        for address in self.gossip.remembered:
            if addresses.split(address)[1] in before - self._bootstrap_peers:
                self.gossip.forget(address)
        self._moved.set()

    # What the daemon does with it

    async def publish(self, data: bytes, topic: str | None = None) -> None:
        """Gossip a signed envelope. Raises NetworkError if it is too large."""
        await self.gossip.publish(topic or self.topics[0], data)

    async def ban(self, peer_id: str) -> None:
        """Neither hear, serve nor connect to a peer any more, until this node is started again."""
        self._known.pop(peer_id, None)
        self.host.banned.add(peer_id)
        await self.gossip.ban(peer_id)

    async def unban(self, peer_id: str) -> None:
        """Hear and serve a peer again."""
        self.host.banned.discard(peer_id)
        await self.gossip.unban(peer_id)

    # Health, for the metrics

    @property
    def peers(self) -> dict[str, PeerRecord]:
        """The peers in the directory when it was last read, ourselves left out, by peer id."""
        return dict(self._known)

    @property
    def gossip_peers(self) -> frozenset[str]:
        """The peers that the sidecar is connected to."""
        return self.gossip.peers

    @property
    def alive(self) -> dict[str, bool]:
        """Which parts run: `p2pd`, `dht`, `sidecar`."""
        return {
            "p2pd": self.host.supervisor.alive,
            "dht": self.directory.alive and self.host.supervisor.alive,
            "sidecar": self.gossip.supervisor.alive,
        }

    @property
    def restarts(self) -> dict[str, int]:
        """How often `p2pd` and `sidecar` were started again."""
        return {part.name: part.restarts for part in (self.host.supervisor, self.gossip.supervisor)}

    # The directory

    async def gossip_addresses(self) -> list[str]:
        """Return where others reach our gossip: none if nobody can."""
        if self.options.reachability == "outgoing" or not self.gossip.port:
            return []
        hosts = list(self.options.announce) or [self.options.host]
        if hosts == ["0.0.0.0"] or hosts == ["::"]:
            hosts = addresses.hosts(await self.host.dial_strings())
        return [f"{addresses.tcp(host, self.gossip.port)}/p2p/{self.identity.peer_id}" for host in hosts[:6]]

    async def announce(self) -> None:
        """Tell the directory about us now. Raises NetworkError."""
        standing = self.callbacks.standing()
        await self.directory.announce(
            PeerRecord(
                event=self.event,
                peer=self.identity.peer_id,
                p2p=tuple((await self.host.dial_strings())[:6]),
                gossip=tuple(await self.gossip_addresses()),
                head=standing.head,
                round=standing.round,
                trains=standing.trains,
                version=standing.version,
                name=standing.name,
                metrics_port=standing.metrics_port,
                expires=expires_in(3 * self.options.announce_seconds),
            )
        )

    async def _restart_directory(self) -> None:
        try:
            await self.directory.restart(await self.host.dial_bootstrap())
        except NetworkError as error:
            self.callbacks.on_line(f"network: {error}")  # `_rejoin` tries again

    async def _rejoin(self) -> None:
        reached = await self.host.dial_bootstrap()
        if self.directory.alive:
            await self.directory.rejoin(reached)
        else:
            await self.directory.restart(reached)
        if len(self.gossip.peers) < self.options.gossip_peers:
            known = self.gossip.peers | self.host.banned
            await self._greet([address for address in reached if addresses.split(address)[1] not in known])

    async def _every(
        self, seconds: float, action: Callable[[], Awaitable[None]], at_once: asyncio.Event | None = None
    ) -> None:
        at_once = at_once or asyncio.Event()
        while True:
            at_once.clear()
            try:
                await action()
            except NetworkError as error:
                self.callbacks.on_line(f"network: {error}")
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds * (0.9 + 0.2 * self._random.random())):
                    await at_once.wait()

    # Finding peers to gossip with

    async def _greet(self, bootstrap: list[str]) -> None:
        peers = [addresses.split(address)[1] for address in bootstrap]
        await asyncio.gather(*(self._greet_one(peer) for peer in peers))

    async def _greet_one(self, peer_id: str) -> None:
        request = encode({"event": self.event, "gossip": await self.gossip_addresses()})
        try:
            answer = decode(await self.rpc.call(peer_id, HELLO, request, limit=_HELLO_LIMITS.size), _HELLO_LIMITS)
            for address in _gossip_of(answer, self.event, peer_id):
                if await self.gossip.connect(address):
                    return
        except (NetworkError, RemoteProtocolError) as error:
            self.callbacks.on_line(f"network: no greeting from {peer_id}: {error}")

    async def _hello(self, peer_id: str, body: bytes) -> bytes:
        _gossip_of(decode(body, _HELLO_LIMITS), self.event, peer_id)
        return encode({"event": self.event, "gossip": await self.gossip_addresses()})

    async def _discover(self) -> None:
        pause = waited = self.options.discover_seconds
        unknown: frozenset[str] = frozenset()
        while True:
            if waited >= pause or self._unknown() != unknown:
                await self._look()
                unknown, waited = self._unknown(), 0.0
                enough = len(self.gossip.peers) >= min(self.options.gossip_peers, len(self._known))
                pause = min(2 * pause, self.options.discover_slowest) if enough else self.options.discover_seconds
            await asyncio.sleep(self.options.discover_seconds)
            waited += self.options.discover_seconds

    def _unknown(self) -> frozenset[str]:
        return self.gossip.peers - self._known.keys()

    async def _look(self) -> None:
        try:
            found = [record for record in await self.directory.peers() if record.peer != self.identity.peer_id]
        except NetworkError as error:
            self.callbacks.on_line(f"network: {error}")
            return
        self._known = {record.peer: record for record in found}
        await self._meet(found)

    async def _meet(self, found: list[PeerRecord]) -> None:
        for address, failures in self.gossip.remembered.items():
            if failures >= _PATIENCE and addresses.split(address)[1] not in self._bootstrap_peers:
                self.gossip.forget(address)
        wanted = self.options.gossip_peers - len(self.gossip.peers)
        strangers = [record for record in found if record.peer not in self.gossip.peers and record.gossip]
        self._random.shuffle(strangers)
        await asyncio.gather(*(self._connect_to(record) for record in strangers[: max(0, wanted)]))

    async def _connect_to(self, record: PeerRecord) -> None:
        for address in record.gossip:
            if addresses.split(address)[1] == record.peer:
                if await self.gossip.connect(address):
                    return
                self.gossip.forget(address)  # whoever makes keys can fill the directory with addresses of nobody


def _peers_at(bootstrap: Iterable[str]) -> set[str]:
    return {addresses.split(address)[1] for address in bootstrap}


def _gossip_of(greeting: object, event: bytes, peer_id: str) -> list[str]:
    match greeting:
        case {"event": bytes(theirs), "gossip": tuple(found), **rest} if not rest:
            if theirs != event:
                raise RemoteProtocolError("wrong_event", theirs.hex())
            texts = [address for address in found if isinstance(address, str) and addresses.is_address(address)]
            return [address for address in texts if addresses.split(address)[1] == peer_id][:6]
    raise RemoteProtocolError("malformed", "greeting")


async def _both(first: Coroutine[None, None, None], second: Coroutine[None, None, None]) -> None:
    """Await both at once; if one fails, the other is cancelled, and a NetworkError comes through as it is."""
    tasks = [asyncio.create_task(first), asyncio.create_task(second)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
