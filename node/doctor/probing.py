"""What a running node can find out about its network, for `doctor`: asked of the peers, over the connections that are there."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from ...protocol.errors import RemoteProtocolError
from ..clock_skew import CLOCK
from ..display.observe import observe
from ..net import blobs, wire
from ..net.blob_limits import BlobLimits
from ..net.errors import NetworkError

if TYPE_CHECKING:
    from ..node import Node

_CALLS = 16
_CALL_BYTES = 60_000
_SECONDS = 20.0
_LEAST_BYTES = 200_000  # less says more about the delay than about the line


async def probe(node: Node) -> dict[str, Any]:
    """Return plain values: counts, addresses, the clock's skew, and the speed to one peer; None for what nobody answered."""
    network = node.network
    peers = node.peers.likely(node.history.head.round if node.driver is not None else 0)
    try:
        connections: int | None = await network.host.connections()
    except NetworkError:
        connections = None
    found: dict[str, Any] = {
        "reachability": network.options.reachability, "host": network.options.host, "addresses": list(node.addresses),
        "port": network.host.port, "gossip_port": network.gossip.port, "metrics_port": node.metrics_port,
        "peers": len(network.peers), "gossip_peers": len(network.gossip_peers), "connections": connections,
        "dht": network.directory.size, "alive": node.parts,
        "waits": observe(node).waits, "alone": node.company.words,
        "clock_ahead": await node.clock_skew.measure(), "round_trip": None, "upload": None, "download": None,
    }  # fmt: skip
    for peer in peers[:3]:
        try:
            async with asyncio.timeout(_SECONDS):
                found["round_trip"], found["upload"] = await _upload(node, peer)
                found["download"] = await _download(node, peer)
            return found
        except (NetworkError, RemoteProtocolError, OSError, EOFError):
            continue
    return found


async def _upload(node: Node, peer: str) -> tuple[float, float]:
    """Return the seconds of a call there and back, and the bytes a second of many with something to carry."""
    rpc = node.network.rpc
    started = time.monotonic()
    await rpc.call(peer, CLOCK, b"")
    round_trip = time.monotonic() - started
    started = time.monotonic()
    await asyncio.gather(*(rpc.call(peer, CLOCK, bytes(_CALL_BYTES)) for _ in range(_CALLS)))
    return round_trip, _CALLS * _CALL_BYTES / max(1e-6, time.monotonic() - started - round_trip)


async def _download(node: Node, peer: str) -> float | None:
    """Return the bytes a second of a part of the newest snapshot, which every node has; None if it is not there, or too small."""
    snapshot = node.store.latest_snapshot()
    length = min(BlobLimits().part_bytes, snapshot.blob.size) if snapshot is not None else 0
    if snapshot is None or length < _LEAST_BYTES:
        return None
    reader, writer = await node.network.host.open_stream(peer, blobs.PROTOCOL)
    try:
        started = time.monotonic()
        wire.write_frame(writer, blobs.encode_request(snapshot.blob.digest, 0, length))
        await writer.drain()
        status, size = blobs.HEADER.unpack(await reader.readexactly(blobs.HEADER.size))
        if status != blobs.Status.OK or size != length:
            return None
        await reader.readexactly(length)
        return length / max(1e-6, time.monotonic() - started)
    finally:
        await wire.close(writer)
