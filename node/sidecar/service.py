"""What the sidecar does for the daemon: one host, one mesh, and the daemon's requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import multiaddr
import trio
from libp2p.network.swarm import Swarm
from libp2p.peer.id import ID
from libp2p.tools.anyio_service import background_trio_service

from ..processes.frames import Message
from ..rates import Rate
from .bounds import ConnectionBounds
from .gate import Gate
from .host import ConnectError, check_port, connect, new_host
from .limits import GossipLimits
from .pipe import Pipe
from .pubsub import GatedPubsub, new_router

_REPORT_SECONDS = 0.25
_REFUSALS_KEPT = 256
_STREAM_SECONDS = 5.0


class RequestError(Exception):
    """A request that could not be carried out: a code for programs, a line for people."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class Service:
    """The running mesh. `start` makes one; the other methods are the daemon's requests."""

    def __init__(self, pipe: Pipe, request: Message) -> None:
        self._pipe = pipe
        self._limits = _limits(request.get("limits", {}))
        self._topics: list[str] = list(request["topics"])
        self._bounds = ConnectionBounds(self._limits.connections, self._limits.connections_per_address)
        self._host = new_host(request["seed"], self._limits, self._bounds)
        self._gate = Gate(self._topics, self._limits)
        self._pubsub = GatedPubsub(
            self._host, new_router(), self._gate, self._limits, self._deliver, self._refuse
        )
        self._refused: Counter[tuple[str, str]] = Counter()
        self._requests: dict[str, Callable[[Message], Awaitable[Message]]] = {
            "connect": self._connect,
            "publish": self._publish,
            "ban": self._ban,
            "unban": self._unban,
            "coordinators": self._coordinators,
            "stats": self._stats,
        }

    async def enter(self, stack: AsyncExitStack, host: str, port: int) -> Message:
        """Listen and join the topics; return our peer id and addresses. Raises RequestError."""
        protocol = "ip6" if ":" in host else "ip4"
        try:
            await check_port(host, port)
        except OSError as error:
            raise RequestError("cannot_listen", f"gossip cannot listen on {host} port {port}: {error.strerror}") from error
        await stack.enter_async_context(self._host.run([multiaddr.Multiaddr(f"/{protocol}/{host}/tcp/{port}")]))
        stack.push_async_callback(self._close)
        await stack.enter_async_context(background_trio_service(self._pubsub.router))
        await stack.enter_async_context(background_trio_service(self._pubsub))
        await self._pubsub.wait_until_ready()
        for topic in self._topics:
            await self._pubsub.subscribe(topic)
        addresses = [str(address) for address in self._host.get_addrs()]
        if not addresses:
            raise RequestError("cannot_listen", f"gossip cannot listen on {host} port {port}")
        return {"peer_id": self._host.get_id().to_base58(), "addresses": addresses}

    async def _close(self) -> None:
        # Leaving the host's context alone leaks the sockets on both ends.
        with trio.move_on_after(1.0) as scope:
            scope.shield = True
            await self._host.close()

    async def handle(self, request: Message) -> Message:
        """Carry out a request and return the fields of its answer. Raises RequestError."""
        handler = self._requests.get(str(request.get("kind")))
        if handler is None:
            raise RequestError("unknown_request", f"no request {request.get('kind')!r}")
        try:
            return await handler(request)
        except ConnectError as error:
            raise RequestError("unreachable", str(error)) from error

    async def _connect(self, request: Message) -> Message:
        peer = await connect(self._host, request["address"])
        if self._pubsub.is_peer_blacklisted(peer):
            await self._hang_up(peer)
            raise RequestError("banned", f"{peer} is banned")
        if not await self._pubsub.ensure_peer_stream(peer, _STREAM_SECONDS):
            raise RequestError("no_gossip", f"{peer} does not speak gossip")
        return {"peer": peer.to_base58()}

    async def _publish(self, request: Message) -> Message:
        data: bytes = request["data"]
        if len(data) > self._limits.message_bytes:
            raise RequestError(
                "oversized", f"a message of {len(data)} bytes; gossip carries {self._limits.message_bytes}"
            )
        if request["topic"] not in self._topics:
            raise RequestError("wrong_topic", f"not joined: {request['topic']}")
        await self._pubsub.publish(request["topic"], data)
        return {}

    async def _ban(self, request: Message) -> Message:
        peer = ID.from_base58(request["peer"])
        self._pubsub.add_to_blacklist(peer)
        await self._hang_up(peer)
        return {}

    async def _unban(self, request: Message) -> Message:
        self._pubsub.remove_from_blacklist(ID.from_base58(request["peer"]))
        return {}

    async def _coordinators(self, request: Message) -> Message:
        self._gate.coordinators = frozenset(request["peers"])
        return {}

    async def _hang_up(self, peer: ID) -> None:
        swarm = self._host.get_network()
        assert isinstance(swarm, Swarm)
        await swarm.close_peer(peer)

    async def _stats(self, request: Message) -> Message:
        mesh = self._pubsub.router.mesh
        return {
            "peers": [peer.to_base58() for peer in self._pubsub.peers],
            "mesh": {topic: len(mesh.get(topic, ())) for topic in self._topics},
            "inbound": self._bounds.open,
            "inbound_refused": self._bounds.refused,
            "dropped": self._pipe.dropped,
        }

    def _deliver(self, topic: str, data: bytes, author: ID, forwarder: ID) -> None:
        self._pipe.post(
            {
                "kind": "message",
                "topic": topic,
                "data": data,
                "from": author.to_base58(),
                "via": forwarder.to_base58(),
            }
        )

    def _refuse(self, reason: str, peer: ID) -> None:
        key = (reason, peer.to_base58())
        if key in self._refused or len(self._refused) < _REFUSALS_KEPT:
            self._refused[key] += 1

    async def report(self) -> None:
        """Tell the daemon who is connected, when that changes, and what was refused, for ever."""
        known: set[ID] = set()
        while True:
            await trio.sleep(_REPORT_SECONDS)
            if (peers := set(self._pubsub.peers)) != known:
                known = peers
                self._pipe.post({"kind": "peers", "peers": sorted(peer.to_base58() for peer in peers)})
            for peer in peers & self._pubsub.blacklisted_peers:
                await self._hang_up(peer)
            if self._refused:
                counts = [[reason, peer, count] for (reason, peer), count in self._refused.items()]
                self._refused.clear()
                self._pipe.post({"kind": "refused", "counts": counts})


def _limits(values: dict[str, Any]) -> GossipLimits:
    rates = {name: Rate(*value) for name, value in values.items() if isinstance(value, list | tuple)}
    return GossipLimits(**{**values, **rates})
