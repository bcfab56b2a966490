"""Multiaddresses from strangers."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collab.node.net import addresses
from collab.node.net.errors import NetworkError
from collab.protocol.identity import Identity

PEER = Identity(b"p" * 32).peer_id
RELAY = Identity(b"r" * 32).peer_id


@pytest.mark.parametrize(
    "route",
    [
        "/ip4/203.0.113.7/tcp/4001",
        "/ip6/2001:db8::1/tcp/4001",
        "/dns4/example.org/tcp/443",
        "/ip4/203.0.113.7/udp/4001/quic-v1",
        f"/ip4/203.0.113.7/tcp/4001/p2p/{RELAY}/p2p-circuit",
    ],
)
def test_addresses_of_peers(route: str) -> None:
    assert addresses.split(f"{route}/p2p/{PEER}") == (route, PEER)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "/ip4/203.0.113.7/tcp/4001",
        f"/p2p/{PEER}",
        f"/unix/tmp/socket/p2p/{PEER}",
        f"/ip4/203.0.113.7/tcp/4001/p2p/{PEER[:-1]}",
        f"/ip4/1.2.3.4/tcp/1/p2p/{PEER}\n",
        f"/dns/{'a' * 300}/tcp/1/p2p/{PEER}",
        f"/ip4/1.2.3.4,/ip4/5.6.7.8/tcp/1/p2p/{PEER}",
    ],
)
def test_what_is_no_address(address: str) -> None:
    assert not addresses.is_address(address)


@given(st.text(max_size=300))
def test_any_text_is_an_address_or_a_network_error(text: str) -> None:
    assert addresses.is_address(text) in (True, False)


def test_hosts_and_routes() -> None:
    assert addresses.tcp("203.0.113.7", 1) == "/ip4/203.0.113.7/tcp/1"
    assert addresses.tcp("::1", 1) == "/ip6/::1/tcp/1"
    assert addresses.tcp("example.org", 1) == "/dns/example.org/tcp/1"
    routes = ["/ip4/10.0.0.1/tcp/1/p2p/x", "/ip4/10.0.0.1/tcp/2", f"/ip4/9.9.9.9/tcp/1/p2p/{RELAY}/p2p-circuit"]
    assert addresses.hosts(routes) == ["10.0.0.1"]
    assert addresses.is_loopback("127.0.0.1")
    assert not addresses.is_loopback("example.org")


def test_a_taken_port_is_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(NetworkError, match=rf"cannot listen on 127.0.0.1 port {port}: Address already in use"):
            addresses.check_port("127.0.0.1", port)


def test_an_address_of_another_machine_is_said_so() -> None:
    with pytest.raises(NetworkError, match=r"cannot listen on 203\.0\.113\.1: .*; leave --host out"):
        addresses.check_port("203.0.113.1", 0)
