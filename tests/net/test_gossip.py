"""Gossip through real sidecars: delivery, restarts, bans, hostile peers and hostile bytes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from net.netkit import envelope, until, until_async

from collab.node.net.errors import NetworkError
from collab.node.net.gossip import Gossip, GossipCallbacks, GossipMessage
from collab.node.net.traffic import Traffic
from collab.node.processes.supervise import Backoff
from collab.protocol.identity import Identity

TOPIC = "test"


@dataclass
class Peer:
    gossip: Gossip
    heard: list[GossipMessage]
    lines: list[str]

    @property
    def identity(self) -> Identity:
        return self.gossip.identity

    @property
    def address(self) -> str:
        return self.gossip.addresses[0]

    async def heard_of(self, number: int) -> None:
        await until(lambda: len(self.heard) >= number)


Make = Callable[..., Awaitable[Peer]]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    peers: list[Peer] = []

    async def start(port: int = 0, **limits: Any) -> Peer:
        heard: list[GossipMessage] = []
        lines: list[str] = []
        gossip = Gossip(
            Identity.generate(), "127.0.0.1", port, [TOPIC], Traffic(),
            GossipCallbacks(on_message=heard.append, on_line=lines.append), limits, backoff=Backoff(first=0.01),
        )  # fmt: skip
        await gossip.start()
        peer = Peer(gossip, heard, lines)
        peers.append(peer)
        return peer

    yield start
    await asyncio.gather(*(peer.gossip.stop() for peer in peers))


async def test_messages_reach_peers_once_and_over_others(make: Make) -> None:
    left, middle, right = await asyncio.gather(make(), make(), make())
    assert await left.gossip.connect(middle.address)
    assert await right.gossip.connect(middle.address)
    await until(lambda: len(middle.gossip.peers) == 2)
    data = envelope(left.identity)
    await left.gossip.publish(TOPIC, data)
    await asyncio.gather(middle.heard_of(1), right.heard_of(1))
    await left.gossip.publish(TOPIC, data)
    await left.gossip.publish(TOPIC, envelope(left.identity, 1))
    await asyncio.gather(middle.heard_of(2), right.heard_of(2))
    assert [message.data for message in right.heard] == [data, envelope(left.identity, 1)]
    assert {message.author for message in right.heard} == {left.identity.peer_id}
    assert {message.via for message in right.heard} == {middle.identity.peer_id}
    assert left.heard == []
    assert left.gossip.traffic.sent["gossip"] == 2 * len(data) + len(envelope(left.identity, 1))


async def test_a_killed_sidecar_comes_back_connected_and_loses_nothing(make: Make) -> None:
    left, right = await asyncio.gather(make(), make())
    assert await left.gossip.connect(right.address)
    before = left.address
    assert left.gossip.supervisor.current is not None
    os.kill(left.gossip.supervisor.current.child.pid, signal.SIGKILL)
    await until(lambda: not left.gossip.supervisor.alive)
    assert left.gossip.peers == frozenset()
    await left.gossip.publish(TOPIC, envelope(left.identity, 7))
    await right.heard_of(1)
    await until(lambda: left.gossip.supervisor.alive)  # what waited is sent before the sidecar counts as ready
    assert left.address == before
    assert left.gossip.supervisor.restarts == 1
    os.kill(right.gossip.supervisor.current.child.pid, signal.SIGKILL)  # type: ignore[union-attr]
    await until(lambda: left.gossip.peers == frozenset())
    await until(lambda: left.gossip.peers == {right.identity.peer_id})
    await right.gossip.publish(TOPIC, envelope(right.identity, 8))
    await left.heard_of(1)


async def test_a_banned_peer_is_neither_heard_nor_connected(make: Make) -> None:
    left, right = await asyncio.gather(make(), make())
    await left.gossip.connect(right.address)
    await until(lambda: right.gossip.peers == {left.identity.peer_id})
    await right.gossip.ban(left.identity.peer_id)
    await until(lambda: right.gossip.peers == frozenset())
    await left.gossip.connect(right.address)
    await left.gossip.publish(TOPIC, envelope(left.identity))
    await until(lambda: right.gossip.peers == frozenset())
    assert right.heard == []


async def test_mistakes_are_one_line(make: Make) -> None:
    peer = await make()
    with pytest.raises(NetworkError, match=f"gossip cannot listen on 127.0.0.1 port {peer.gossip.port}: Address already"):
        await make(port=peer.gossip.port)
    with pytest.raises(NetworkError, match="65537 bytes; gossip carries 65536"):
        await peer.gossip.publish(TOPIC, bytes(65537))
    with pytest.raises(NetworkError, match="not joined"):
        await peer.gossip.publish("other", b"")
    with pytest.raises(NetworkError, match="not a peer's address"):
        await peer.gossip.connect("/ip4/127.0.0.1/tcp/1")
    assert not await peer.gossip.connect(f"/ip4/127.0.0.1/tcp/9/p2p/{Identity.generate().peer_id}")


async def test_a_hostile_peer_is_refused_by_reason_and_forwarded_never(make: Make) -> None:
    target, behind = await asyncio.gather(make(), make())
    await behind.gossip.connect(target.address)
    attacker = await asyncio.create_subprocess_exec(
        sys.executable, str(Path(__file__).with_name("attacker.py")), target.address, TOPIC,
        env={**os.environ, "PYTHONSAFEPATH": "1"},
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        await asyncio.gather(target.heard_of(1), behind.heard_of(1))
    finally:
        _, errors = await attacker.communicate(b"\n")
    assert attacker.returncode == 0, errors.decode()
    await behind.gossip.publish(TOPIC, envelope(behind.identity))
    await target.heard_of(2)
    assert [len(target.heard), len(behind.heard)] == [2, 1]
    refused = target.gossip.traffic.refused
    for reason in ("malformed", "wrong_author", "bad_signature", "unknown_kind", "oversized"):
        assert refused[f"gossip_{reason}"] >= 1, refused
    await until(lambda: sum(refused.values()) == 5 + 3_000 + 1)  # the last is what was no RPC
    assert behind.gossip.traffic.refused == {}
    assert target.gossip.supervisor.restarts == 0


async def test_control_messages_fill_no_memory_choose_no_dials_and_are_not_multiplied() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(Path(__file__).with_name("control_words.py")), env={**os.environ, "PYTHONSAFEPATH": "1"},
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, _ = await process.communicate()
    led_to = json.loads(output)
    assert led_to["kept"] <= 3
    assert led_to["dialed"] == 0
    assert 60_000 < led_to["sent"] <= 128 * 1024


async def test_hostile_bytes_and_half_open_sockets_keep_nobody_out(make: Make) -> None:
    target, honest = await asyncio.gather(make(connections_per_address=8), make())
    port = target.gossip.port
    with ExitStack() as stack:
        for _ in range(40):
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))

        async def refused() -> bool:
            return bool((await target.gossip.stats())["inbound_refused"] >= 32)

        await until_async(refused)
        for junk in (os.urandom(2048), b"\x13/multistream/1.0.0\n\x07/noise\n" + bytes(600)):
            with socket.create_connection(("127.0.0.1", port)) as sock:
                sock.sendall(junk)
    await until_async(lambda: honest.gossip.connect(target.address))
    await honest.gossip.publish(TOPIC, envelope(honest.identity))
    await target.heard_of(1)
    assert target.gossip.supervisor.restarts == 0

    async def only_one_is_left() -> bool:
        return bool((await target.gossip.stats())["inbound"] == 1)

    await until_async(only_one_is_left)
