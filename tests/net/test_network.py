"""The whole network of several nodes: they find each other, survive kills, and say clearly why they cannot join."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from net.netkit import FolderStore, envelope, network, until

from collab.node.net.errors import NetworkError
from collab.node.net.gossip import GossipMessage
from collab.node.net.network import Network, NetworkCallbacks, Standing
from collab.protocol.identity import Identity

Make = Callable[..., Awaitable[tuple[Network, FolderStore, list[GossipMessage]]]]
DATA = os.urandom(300_000)


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    networks: list[Network] = []

    async def start(*bootstrap: str, **options: object) -> tuple[Network, FolderStore, list[GossipMessage]]:
        heard: list[GossipMessage] = []
        callbacks = NetworkCallbacks(on_message=heard.append, standing=lambda: Standing(round=5, trains=True, metrics_port=9464))
        made, store = network(tmp_path / str(len(networks)), bootstrap, callbacks, **options)
        networks.append(made)
        await made.start()
        return made, store, heard

    yield start
    await asyncio.gather(*(made.stop() for made in networks))


async def test_nodes_find_each_other_through_one_and_go_on_without_it(make: Make) -> None:
    seed, seed_store, _ = await make()
    (address,) = await seed.host.dial_strings()
    dead = f"/ip4/127.0.0.1/tcp/9/p2p/{Identity.generate().peer_id}"
    (left, _, _), (right, right_store, heard) = await asyncio.gather(make(dead, address), make(address))
    everybody = {node.identity.peer_id for node in (seed, left, right)}
    for node in (seed, left, right):
        others = everybody - {node.identity.peer_id}
        await until(lambda node=node, others=others: node.gossip.peers == others)  # type: ignore[misc]
        await until(lambda node=node, others=others: set(node.peers) == others)  # type: ignore[misc]
    assert {(record.round, record.metrics_port) for record in left.peers.values()} == {(5, 9464)}
    digest = seed_store.put(DATA)
    assert (await left.fetcher.fetch(digest, len(DATA), [seed.identity.peer_id], limit=1 << 20)).read_bytes() == DATA
    await seed.stop()
    await until(lambda: right.gossip.peers == {left.identity.peer_id})
    await left.publish(envelope(left.identity))
    await until(lambda: len(heard) == 1)
    path = await right.fetcher.fetch(digest, len(DATA), [seed.identity.peer_id, left.identity.peer_id], limit=1 << 20)
    assert path.read_bytes() == DATA
    assert right_store.open(digest) is not None


async def test_killed_processes_come_back_and_the_node_is_whole_again(make: Make) -> None:
    seed, _, heard = await make()
    node, store, _ = await make(*await seed.host.dial_strings())
    await until(lambda: seed.gossip.peers == {node.identity.peer_id} and set(seed.peers) == {node.identity.peer_id})
    digest = store.put(DATA)
    assert node.host.supervisor.current is not None
    assert node.gossip.supervisor.current is not None
    os.kill(node.host.supervisor.current.p2p._child.pid, signal.SIGKILL)
    os.kill(node.gossip.supervisor.current.child.pid, signal.SIGKILL)
    await until(lambda: node.restarts == {"p2pd": 1, "sidecar": 1} and all(node.alive.values()))
    await until(lambda: seed.gossip.peers == {node.identity.peer_id})
    await node.publish(envelope(node.identity))
    await until(lambda: len(heard) == 1)
    assert {record.peer for record in await seed.directory.peers()} == {seed.identity.peer_id, node.identity.peer_id}
    fetched = await seed.fetcher.fetch(digest, len(DATA), [node.identity.peer_id], limit=1 << 20)
    assert fetched.read_bytes() == DATA


async def test_a_join_that_cannot_work_says_why_and_leaves_nothing_running(make: Make, tmp_path: Path) -> None:
    dead = f"/ip4/127.0.0.1/tcp/9/p2p/{Identity.generate().peer_id}"
    with pytest.raises(NetworkError, match=f"none of the bootstrap peers answers: {dead}"):
        await make(dead)
    seed, _, _ = await make(dead, wait_for_bootstrap=False)
    for option, port in (("port", int((await seed.host.dial_strings())[0].split("/")[4])), ("gossip_port", seed.gossip.port)):
        with pytest.raises(NetworkError, match=f"port {port}: Address already in use"):
            await make(**{option: port})
    with pytest.raises(NetworkError, match="not a peer's address"):
        await make("localhost:1234")


async def test_two_seeds_that_start_apart_become_one_directory(make: Make) -> None:
    first, _, _ = await make()
    (address,) = await first.host.dial_strings()
    await first.stop()
    second, _, _ = await make(address, wait_for_bootstrap=False, rejoin_seconds=0.5)
    assert second.peers == {}
    await first.start()
    await until(lambda: set(second.peers) == {first.identity.peer_id})
    await until(lambda: set(first.peers) == {second.identity.peer_id})
    await until(lambda: second.gossip.peers == {first.identity.peer_id})


async def test_who_lost_everybody_finds_new_bootstrap_peers_at_once_and_forgets_the_old(make: Make) -> None:
    old, _, _ = await make()
    node, _, _ = await make(*await old.host.dial_strings(), rejoin_seconds=600.0)
    await until(lambda: node.gossip.peers == {old.identity.peer_id})
    await old.stop()
    new, _, _ = await make()
    addresses = await new.host.dial_strings()
    node.find_at(addresses)
    await until(lambda: node.gossip.peers == {new.identity.peer_id} and set(node.peers) >= {new.identity.peer_id})
    assert node.bootstrap == tuple(addresses)
    assert await node.host.dial_bootstrap() == addresses
    assert not any(old.identity.peer_id in address for address in node.gossip.remembered)


async def test_what_is_no_address_moves_nobody(tmp_path: Path) -> None:
    peers = [f"/ip4/127.0.0.1/tcp/9/p2p/{Identity.generate().peer_id}" for _ in range(3)]
    node, _ = network(tmp_path, (peers[0], peers[1]))
    for address in peers[:2]:
        await node.gossip.connect(address)
    with pytest.raises(NetworkError, match="not a peer's address"):
        node.find_at([peers[2], "localhost:1234"])
    assert (node.bootstrap, set(node.gossip.remembered)) == ((peers[0], peers[1]), set(peers[:2]))
    node.find_at([peers[1], peers[2]])
    assert (node.bootstrap, set(node.gossip.remembered)) == ((peers[1], peers[2]), {peers[1]})
