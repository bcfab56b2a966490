"""/sd: who agreed to be scraped, and where nobody can point a coordinator's Prometheus."""

from __future__ import annotations

import json
import socket
import threading
import urllib.request
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from collab.node.errors import UserError
from collab.node.metrics.discovery import check_sharing, scrape_targets
from collab.node.metrics.server import MetricsServer
from collab.node.net.records import PeerRecord
from collab.node.settings import Settings
from collab.protocol.identity import Identity

PEER = Identity(b"a" * 32).peer_id


def record(*routes: str, metrics_port: int = 9464) -> PeerRecord:
    addresses = tuple(f"{route}/p2p/{PEER}" for route in routes)
    return PeerRecord(
        event=bytes(32), peer=PEER, p2p=addresses, gossip=(), head=None, round=0, trains=True, version="", expires=1,
        metrics_port=metrics_port,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("routes", "target"),
    [
        (["/ip4/192.168.1.7/tcp/4001"], "192.168.1.7:9464"),
        (["/ip4/127.0.0.1/tcp/4001", "/ip4/192.168.1.7/tcp/4001", "/ip4/8.8.8.8/tcp/4001"], "8.8.8.8:9464"),
        (["/ip6/2001:4860::8/tcp/4001"], "[2001:4860::8]:9464"),
    ],
)
def test_a_node_that_agreed_is_a_target_at_its_widest_address(routes: list[str], target: str) -> None:
    assert scrape_targets([record(*routes)], loopback=False) == [{"targets": [target], "labels": {"peer": PEER}}]


def test_who_did_not_agree_is_no_target() -> None:
    assert scrape_targets([record("/ip4/8.8.8.8/tcp/4001", metrics_port=0)], loopback=True) == []


@pytest.mark.parametrize(
    "route",
    [
        "/ip4/127.0.0.1/tcp/4001", "/ip4/169.254.169.254/tcp/80", "/ip4/0.0.0.0/tcp/1", "/ip4/224.0.0.1/tcp/1",
        "/ip4/999.0.0.1/tcp/1", "/dns/example.org/tcp/1", "/ip6/::1/tcp/1", f"/ip4/8.8.8.8/tcp/4001/p2p/{PEER}/p2p-circuit",
    ],
)  # fmt: skip
def test_no_peer_points_us_at_ourselves_at_relays_or_at_what_only_a_machine_has(route: str) -> None:
    assert scrape_targets([record(route)], loopback=False) == []


def test_a_swarm_on_one_machine_is_scraped_there() -> None:
    assert scrape_targets([record("/ip4/127.0.0.1/tcp/4001")], loopback=True)[0]["targets"] == ["127.0.0.1:9464"]


@given(st.integers(0, 3000))
def test_the_answer_is_bounded(count: int) -> None:
    found = scrape_targets([record("/ip4/8.8.8.8/tcp/4001")] * count, loopback=False)
    assert len(found) == min(count, 1000)


def test_a_server_answers_sd_beside_its_metrics() -> None:
    found = scrape_targets([record("/ip4/8.8.8.8/tcp/1")], loopback=False)
    server = MetricsServer.start(CollectorRegistry(), discover=lambda: found)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/sd") as answer:
            assert answer.headers["Content-Type"] == "application/json"
            assert json.load(answer) == [{"targets": ["8.8.8.8:9464"], "labels": {"peer": PEER}}]
    finally:
        server.close()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"metrics": False}, "where there are none"),
        ({"reachability": "outgoing"}, "without incoming connections"),
        ({}, "from 127.0.0.1, which others cannot reach"),
    ],
)
def test_sharing_what_nobody_can_reach_is_a_mistake(changes: dict[str, object], problem: str, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, metrics_shared=True, **changes)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=problem) as found:
        check_sharing(settings)
    assert "metrics_shared = false" in found.value.hint


@pytest.mark.parametrize("changes", [{"metrics_host": "0.0.0.0"}, {"host": "127.0.0.1"}, {"metrics_shared": False}])
def test_what_can_be_reached_can_be_shared(changes: dict[str, object], tmp_path: Path) -> None:
    check_sharing(Settings(home=tmp_path, **{"metrics_shared": True, **changes}))  # type: ignore[arg-type]


def test_silent_connections_take_neither_threads_nor_files_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server lives in the daemon's process, and where metrics are shared anyone can connect."""
    monkeypatch.setattr("collab.node.metrics.server._Handler.timeout", 0.5)
    server, before = MetricsServer.start(CollectorRegistry()), threading.active_count()
    try:
        silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(100)]
        for connection in silent:
            connection.settimeout(5.0)
        assert silent[-1].recv(1) == b""
        assert threading.active_count() - before <= 32
        assert all(connection.recv(1) == b"" for connection in silent)
        for connection in silent:
            connection.close()
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics") as answer:
            assert answer.status == 200
    finally:
        server.close()
