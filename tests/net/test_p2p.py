"""p2pd under supervision: key, ports, bootstrap peers that are down, restarts, hostile bytes, peers that nobody can dial."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from net.netkit import until

from collab.node.net import addresses
from collab.node.net.errors import NetworkError
from collab.node.net.p2p import P2PHost, P2POptions
from collab.node.processes.supervise import Backoff
from collab.protocol.identity import Identity

Make = Callable[..., Awaitable[P2PHost]]
ECHO = "test/echo"
QUICK = Backoff(first=0.01)


async def echo(peer: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(peer.encode() + b":" + await reader.readexactly(2))
    writer.close()


async def ask(host: P2PHost, peer: str) -> bytes:
    reader, writer = await host.open_stream(peer, ECHO)
    writer.write(b"hi")
    answer = await reader.read()
    writer.close()
    return answer


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    hosts: list[P2PHost] = []

    async def start(*bootstrap: str, identity: Identity | None = None, **options: object) -> P2PHost:
        settings = P2POptions(host="127.0.0.1", bootstrap=bootstrap, **options)  # type: ignore[arg-type]
        host = P2PHost(identity or Identity.generate(), tmp_path / f"key{len(hosts)}", settings, backoff=QUICK)
        await host.start()
        hosts.append(host)
        await host.handle(ECHO, echo)
        return host

    yield start
    await asyncio.gather(*(host.stop() for host in hosts))


async def address_of(host: P2PHost) -> str:
    (address,) = await host.dial_strings()
    return address


async def test_p2pd_has_our_key_in_a_private_file(make: Make, tmp_path: Path) -> None:
    identity = Identity.generate()
    host = await make(identity=identity)
    assert (await address_of(host)).endswith(f"/p2p/{identity.peer_id}")
    assert stat.S_IMODE((tmp_path / "key0").stat().st_mode) == 0o600


async def test_a_stream_knows_who_opened_it(make: Make) -> None:
    server = await make()
    client = await make(await address_of(server))
    assert await client.dial_bootstrap() == [await address_of(server)]
    assert await ask(client, server.peer_id) == client.peer_id.encode() + b":hi"
    assert await client.peers() == {server.peer_id}


async def test_a_taken_port_is_one_line(make: Make) -> None:
    port = int((await address_of(await make())).split("/")[4])
    with pytest.raises(NetworkError, match=f"cannot listen on 127.0.0.1 port {port}: Address already in use"):
        await make(port=port)


async def test_a_port_that_an_earlier_life_still_holds_is_waited_for(tmp_path: Path) -> None:
    identity = Identity.generate()
    (tmp_path / "key").write_bytes(identity.libp2p_bytes())
    with socket.socket() as orphan:
        orphan.bind(("127.0.0.1", 0))
        orphan.listen()
        host = P2PHost(identity, tmp_path / "key", P2POptions(host="127.0.0.1", port=orphan.getsockname()[1]))
        asyncio.get_running_loop().call_later(0.3, orphan.close)
        await host.start()
        await host.stop()


async def test_one_dead_bootstrap_peer_does_not_matter(make: Make) -> None:
    server = await make()
    dead = f"/ip4/127.0.0.1/tcp/9/p2p/{Identity.generate().peer_id}"
    client = await make(dead, await address_of(server))
    assert await client.dial_bootstrap() == [await address_of(server)]
    assert await (await make(dead)).dial_bootstrap() == []


async def test_a_bootstrap_peer_that_says_nothing_is_not_waited_for_once_another_answers(make: Make) -> None:
    server = await make()
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        silent = f"/ip4/127.0.0.1/tcp/{deaf.getsockname()[1]}/p2p/{Identity.generate().peer_id}"
        client = await make(silent, await address_of(server), dial_seconds=600.0)
        async with asyncio.timeout(60):
            assert await client.dial_bootstrap(0.1) == [await address_of(server)]
    assert await server.connections() == 1


async def test_p2pd_comes_back_on_its_port_with_its_handlers(make: Make) -> None:
    server = await make()
    client = await make(await address_of(server))
    before = await address_of(client)
    hooks: list[str] = []

    async def hook() -> None:
        hooks.append("ran")

    client.on_restart.append(hook)
    running = asyncio.create_task(client.run())
    assert client.supervisor.current is not None
    os.kill(client.supervisor.current.p2p._child.pid, signal.SIGKILL)
    await until(lambda: hooks == ["ran"] and client.supervisor.alive)
    assert await address_of(client) == before
    assert await ask(server, client.peer_id) == server.peer_id.encode() + b":hi"
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert client.supervisor.restarts == 1


async def test_calls_during_a_restart_are_network_errors(make: Make) -> None:
    host = await make()
    await host.stop()
    for call in (host.peers(), host.dial_strings(), host.open_stream(host.peer_id, ECHO), host.connect(host.peer_id, [])):
        with pytest.raises(NetworkError):
            await call


async def test_hostile_bytes_at_the_port(make: Make) -> None:
    server = await make()
    port = int((await address_of(server)).split("/")[4])
    for junk in (b"\x00" * 4096, b"GET / HTTP/1.1\r\n\r\n", b"\x13/multistream/1.0.0\n" + b"\xff" * 9000, os.urandom(4096)):
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.sendall(junk)
    client = await make(await address_of(server))
    await client.dial_bootstrap()
    assert await ask(client, server.peer_id) == client.peer_id.encode() + b":hi"


async def test_a_peer_without_a_port_is_reached_over_a_relay(make: Make) -> None:
    relay = await make()
    hidden = await make(await address_of(relay), reachability="outgoing")
    await hidden.dial_bootstrap()
    other = await make(await address_of(relay))
    await other.dial_bootstrap()
    assert not [address for address in await hidden.dial_strings() if "p2p-circuit" not in address]
    assert await ask(relay, hidden.peer_id) == relay.peer_id.encode() + b":hi"
    assert await ask(hidden, other.peer_id) == hidden.peer_id.encode() + b":hi"
    await other.connect(hidden.peer_id, [f"{await address_of(relay)}/p2p-circuit"])
    assert await ask(other, hidden.peer_id) == other.peer_id.encode() + b":hi"


async def test_a_key_file_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    host = P2PHost(Identity.generate(), tmp_path / "no" / "key", P2POptions(host="127.0.0.1"))
    with pytest.raises(NetworkError, match="No such file"):
        await host.start()


def test_ports_are_checked_without_p2pd() -> None:
    with pytest.raises(NetworkError, match="port 99999"):
        addresses.check_port("127.0.0.1", 99999)
