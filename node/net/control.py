"""Two requests to p2pd's control socket, closed on every path: hivemind's own leave it open when a request fails."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from multiaddr import Multiaddr

from .hivemind_parts import P2P, PeerID, p2pd_pb2, raise_if_failed, read_pbmsg_safe, write_pbmsg


async def connect(p2p: P2P, peer_id: str, routes: Sequence[str]) -> None:
    """Connect to a peer at one of its `routes`. Raises hivemind's errors and OSError."""
    # Not hivemind's Multiaddr: it encodes relayed addresses wrongly.
    addresses = [Multiaddr(route).to_bytes() for route in routes]
    request = p2pd_pb2.ConnectRequest(peer=PeerID.from_base58(peer_id).to_bytes(), addrs=addresses)
    _, writer = await _ask(p2p, p2pd_pb2.Request(type=p2pd_pb2.Request.CONNECT, connect=request))
    writer.close()


async def open_stream(p2p: P2P, peer_id: str, name: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a stream to the handler `name` of a peer. Raises hivemind's errors and OSError."""
    request = p2pd_pb2.StreamOpenRequest(peer=PeerID.from_base58(peer_id).to_bytes(), proto=[name])
    return await _ask(p2p, p2pd_pb2.Request(type=p2pd_pb2.Request.STREAM_OPEN, streamOpen=request))


async def _ask(p2p: P2P, request: p2pd_pb2.Request) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await p2p._client.control.daemon_connector.open_connection()
    try:
        await write_pbmsg(writer, request)
        response = p2pd_pb2.Response()
        await read_pbmsg_safe(reader, response)
        raise_if_failed(response)
    except BaseException:
        writer.close()
        raise
    return reader, writer
