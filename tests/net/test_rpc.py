"""Calls between two hosts: answers, refusals, limits, rates, hostile bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from net.netkit import until

from collab.node.net import rpc
from collab.node.net.errors import NetworkError
from collab.node.net.p2p import P2PHost, P2POptions
from collab.node.net.rpc import Rpc, RpcLimits
from collab.node.net.traffic import Traffic
from collab.node.rates import Rate
from collab.protocol.canonical import encode
from collab.protocol.errors import RemoteProtocolError
from collab.protocol.identity import Identity

LIMITS = RpcLimits(request=1000, seconds=1.0, calls=2, rate=Rate(0.0, 6.0))


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[tuple[Rpc, Rpc, str, P2PHost, Traffic]]:
    """A client, a server, the server's peer id, the client's host and the server's traffic."""
    server_host = P2PHost(Identity.generate(), tmp_path / "a", P2POptions(host="127.0.0.1"))
    await server_host.start()
    options = P2POptions(host="127.0.0.1", bootstrap=tuple(await server_host.dial_strings()))
    client_host = P2PHost(Identity.generate(), tmp_path / "b", options)
    await client_host.start()
    await client_host.dial_bootstrap()
    traffic = Traffic()
    server, client = Rpc(server_host, traffic, LIMITS), Rpc(client_host, Traffic())
    await server.start()
    yield client, server, server_host.peer_id, client_host, traffic
    await asyncio.gather(server_host.stop(), client_host.stop())


async def test_a_call_is_answered(pair: tuple[Rpc, Rpc, str, P2PHost, Traffic]) -> None:
    client, server, peer, client_host, traffic = pair

    async def shout(caller: str, body: bytes) -> bytes:
        return caller.encode() + body.upper()

    server.register("shout", shout)
    assert await client.call(peer, "shout", b"hello") == client_host.peer_id.encode() + b"HELLO"
    assert traffic.received["rpc"] > 0
    with pytest.raises(RemoteProtocolError, match="refused: unknown_call"):
        await client.call(peer, "whisper", b"")
    with pytest.raises(RemoteProtocolError, match="refused: oversized"):
        await client.call(peer, "shout", bytes(1000))
    with pytest.raises(RemoteProtocolError, match="oversized"):
        await client.call(peer, "shout", b"hello", limit=10)
    assert traffic.refused == {"rpc_unknown_call": 1, "rpc_oversized": 1}


async def test_refusals_rates_and_timeouts(pair: tuple[Rpc, Rpc, str, P2PHost, Traffic]) -> None:
    client, server, peer, _, _ = pair

    async def refuse(caller: str, body: bytes) -> bytes:
        raise RemoteProtocolError("not_now")

    async def sleep(caller: str, body: bytes) -> bytes:
        await asyncio.Event().wait()
        return b""

    server.register("refuse", refuse)
    server.register("sleep", sleep)
    with pytest.raises(RemoteProtocolError, match="refused: not_now"):
        await client.call(peer, "refuse", b"")
    with pytest.raises(NetworkError):
        await client.call(peer, "sleep", b"", timeout=0.1)
    sleeping = [asyncio.create_task(client.call(peer, "sleep", b"", timeout=0.5)) for _ in range(2)]
    results = await asyncio.gather(*sleeping, client.call(peer, "refuse", b""), return_exceptions=True)
    assert all(isinstance(result, NetworkError | RemoteProtocolError) for result in results)
    assert "busy" in str(results)
    with pytest.raises(RemoteProtocolError):
        await client.call(peer, "refuse", b"")
    with pytest.raises(RemoteProtocolError, match="rate_limited"):
        await client.call(peer, "refuse", b"")
    with pytest.raises(NetworkError):
        await client.call(Identity.generate().peer_id, "refuse", b"")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"\xff\xff\xff\x7f", b"oversized"),
        (b"\x01\x00\x00\x00\xc1", b"malformed"),
        (b"\x01\x00\x00\x00\xc0", b"malformed"),
        (encode({"name": 1, "body": b""}), b"malformed"),
        (encode({"name": "x", "body": b"", "more": 1}), b"malformed"),
    ],
)
async def test_hostile_bytes_are_refused(
    pair: tuple[Rpc, Rpc, str, P2PHost, Traffic], body: bytes, reason: bytes
) -> None:
    _, _, peer, client_host, traffic = pair
    reader, writer = await client_host.open_stream(peer, rpc.PROTOCOL)
    writer.write(body if body[1:2] in (b"\x00", b"\xff") else len(body).to_bytes(4, "little") + body)
    answer = await reader.readexactly(5 + len(reason))
    writer.close()
    assert answer == b"\x01" + len(reason).to_bytes(4, "little") + reason
    assert traffic.refused[f"rpc_{reason.decode()}"] == 1


async def test_silent_streams_keep_nobody_from_being_answered(pair: tuple[Rpc, Rpc, str, P2PHost, Traffic]) -> None:
    client, server, peer, client_host, _ = pair

    async def echo(caller: str, body: bytes) -> bytes:
        return body

    server.register("echo", echo)
    silent = [await client_host.open_stream(peer, rpc.PROTOCOL) for _ in range(LIMITS.calls + 1)]
    assert await client.call(peer, "echo", b"still here") == b"still here"
    for _, writer in silent:
        writer.close()


async def test_a_peer_has_so_many_streams_at_once_and_no_more(
    pair: tuple[Rpc, Rpc, str, P2PHost, Traffic], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is a file that this process holds open: one peer must not use up what everything else needs."""
    client, server, peer, client_host, _ = pair

    async def echo(caller: str, body: bytes) -> bytes:
        return body

    server.register("echo", echo)
    monkeypatch.setattr("collab.node.net.p2p._STREAMS_OF_A_PEER", 2)
    silent = [await client_host.open_stream(peer, rpc.PROTOCOL) for _ in range(2)]
    await until(lambda: len(server._host._serving) == 2)
    with pytest.raises(NetworkError):
        await client.call(peer, "echo", b"one too many")
    for _, writer in silent:
        writer.close()
    await asyncio.sleep(0)
    async with asyncio.timeout(5.0):
        while True:
            try:
                assert await client.call(peer, "echo", b"again") == b"again"
                return
            except NetworkError:
                continue
