"""The libp2p host of the sidecar: TCP, Noise and yamux, nothing else."""

from __future__ import annotations

import socket

import libp2p.network.swarm
import multiaddr
import trio
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_key_pair
from libp2p.custom_types import TProtocol
from libp2p.host.basic_host import BasicHost
from libp2p.network.config import ConnectionConfig, RetryConfig
from libp2p.network.swarm import Swarm
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.peer.peerstore import PeerStore
from libp2p.rcmgr.manager import ResourceLimits, ResourceManager
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport as NoiseTransport
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX
from libp2p.stream_muxer.yamux.yamux import Yamux
from libp2p.transport.upgrader import TransportUpgrader

from .bounds import ConnectionBounds
from .limits import GossipLimits
from .transport import BoundedTCP

HANDSHAKE_SECONDS = 5.0


class ConnectError(Exception):
    """A peer could not be reached; one line says why."""


def new_host(seed: bytes, limits: GossipLimits, bounds: ConnectionBounds) -> BasicHost:
    """Return a host with the key of `seed` that accepts Noise only: the library's default takes plaintext connections."""
    # Every dial would wait this long for a rival transport, of which there is none.
    libp2p.network.swarm._HAPPY_EYEBALLS_DELAY = 0.0
    key_pair = create_new_key_pair(seed)
    resources = ResourceManager(
        ResourceLimits(max_connections=2 * limits.connections), enable_metrics=False, enable_circuit_breaker=False
    )
    me, peers = ID.from_pubkey(key_pair.public_key), PeerStore()
    peers.add_key_pair(me, key_pair)
    swarm = Swarm(
        me,
        peers,
        TransportUpgrader(
            {TProtocol(NOISE): NoiseTransport(key_pair, noise_privkey=create_noise_key_pair().private_key)},
            {TProtocol(YAMUX): Yamux},
        ),
        transports=[BoundedTCP(bounds)],
        retry_config=RetryConfig(max_retries=0),  # the daemon dials again by its own plan
        connection_config=ConnectionConfig(
            max_connections=2 * limits.connections,
            high_watermark=2 * limits.connections,
            low_watermark=0,
            min_connections=0,
            dial_timeout=HANDSHAKE_SECONDS,
            inbound_upgrade_timeout=HANDSHAKE_SECONDS,
            outbound_upgrade_timeout=HANDSHAKE_SECONDS,
        ),
    )
    swarm.set_resource_manager(resources)
    return BasicHost(swarm, resource_manager=resources, disable_identify_address_discovery=True)


async def check_port(host: str, port: int) -> None:
    """Raise OSError if `port` is taken. The library listens with SO_REUSEPORT, with which a second node would start happily
    on the port of a first one and take half of its connections."""
    if port == 0:
        return
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with trio.socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        await probe.bind((host, port))


async def connect(host: BasicHost, address: str) -> ID:
    """Connect to the peer at `address` (…/tcp/PORT/p2p/ID) and return its id. Raises ConnectError."""
    try:
        peer = info_from_p2p_addr(multiaddr.Multiaddr(address))
    except Exception as error:  # the parser raises whatever its parts raise
        raise ConnectError(f"{address[:120]!r} is not the address of a peer") from error
    swarm = host.get_network()
    assert isinstance(swarm, Swarm)
    # The library dials one remembered address a peer and shuns a peer for a minute after a failure; we name the address.
    swarm._negative_peer_cache.evict(str(peer.peer_id))
    swarm.peerstore.clear_addrs(peer.peer_id)
    try:
        with trio.fail_after(2 * HANDSHAKE_SECONDS):
            await host.connect(peer)
    except Exception as error:
        raise ConnectError(f"cannot reach {address}: {_reason(error)}") from error
    return peer.peer_id


def _reason(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).splitlines()[0] if str(error) else type(error).__name__
