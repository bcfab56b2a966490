"""/metrics: names, bounded labels, the server."""

from __future__ import annotations

import re
import urllib.request
from collections import Counter
from dataclasses import dataclass, field

import pytest
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from collab.node.errors import UserError
from collab.node.metrics.metrics import Metrics
from collab.node.metrics.server import MetricsServer


@dataclass
class Traffic:
    sent: Counter[str] = field(default_factory=Counter)
    received: Counter[str] = field(default_factory=Counter)
    messages: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)


def values(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = generate_latest(metrics.registry).decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_names_follow_the_conventions() -> None:
    metrics = Metrics()
    metrics.read_traffic(Traffic())
    for family in text_string_to_metric_families(generate_latest(metrics.registry).decode()):
        assert re.fullmatch(r"(collab|process)_[a-z_]+", family.name)
        assert family.documentation.endswith(".")
        if family.name.endswith(("_seconds", "_bytes", "_created")):
            assert family.type in ("histogram", "gauge", "counter")
        assert not family.name.endswith(("_ms", "_kb", "_minutes"))


def test_unknown_label_values_are_counted_together() -> None:
    metrics = Metrics()
    for reason in ("bad_signature", "made-up-1", "made-up-2"):
        metrics.refused(reason)
    metrics.health.restarted("worker")
    metrics.health.restarted("nobody")
    metrics.health.works("dht", True)
    metrics.health.works("nobody", False)
    metrics.phase("training", 3.0)
    metrics.phase("dreaming", 3.0)
    found = values(metrics)
    assert found["collab_contributions_refused_total", (("reason", "bad_signature"),)] == 1
    assert found["collab_contributions_refused_total", (("reason", "other"),)] == 2
    assert found["collab_child_restarts_total", (("child", "worker"),)] == 1
    assert found["collab_child_restarts_total", (("child", "sidecar"),)] == 0
    assert found["collab_up", (("part", "dht"),)] == 1
    assert found["collab_round_phase_seconds_count", (("phase", "other"),)] == 1


def test_the_networks_counters_are_read_when_asked_for() -> None:
    traffic, metrics = Traffic(), Metrics()
    metrics.read_traffic(traffic)
    metrics.read_age_from(lambda: 42.0)
    metrics.build({"version": "1"})
    traffic.sent.update(blob=5, smoke=2)
    traffic.received["rpc"] += 7
    traffic.refused.update(gossip_bad_signature=3, rpc_nonsense=1, carrier_pigeon=2)
    traffic.messages.update(sent_progress=4, received_contribution=2, received_made_up=1)
    found = values(metrics)
    assert found["collab_gossip_messages_total", (("direction", "sent"), ("kind", "progress"))] == 4
    assert found["collab_gossip_messages_total", (("direction", "received"), ("kind", "contribution"))] == 2
    assert found["collab_gossip_messages_total", (("direction", "received"), ("kind", "other"))] == 1
    assert found["collab_gossip_messages_total", (("direction", "sent"), ("kind", "proposal"))] == 0
    assert found["collab_network_bytes_total", (("direction", "sent"), ("kind", "blob"))] == 5
    assert found["collab_network_bytes_total", (("direction", "sent"), ("kind", "other"))] == 2
    assert found["collab_network_bytes_total", (("direction", "received"), ("kind", "rpc"))] == 7
    assert found["collab_network_refused_total", (("channel", "gossip"), ("reason", "bad_signature"))] == 3
    assert found["collab_network_refused_total", (("channel", "rpc"), ("reason", "other"))] == 1
    assert found["collab_network_refused_total", (("channel", "other"), ("reason", "other"))] == 2
    assert found["collab_head_age_seconds", ()] == 42
    assert found["collab_build_info", (("version", "1"),)] == 1


def test_a_server_serves_and_frees_its_port() -> None:
    metrics = Metrics()
    metrics.rounds.inc()
    server = MetricsServer.start(metrics.registry)
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics") as answer:
        assert b"collab_rounds_total 1.0" in answer.read()
    with pytest.raises(UserError, match=f"127.0.0.1:{server.port}: Address already in use") as taken:
        MetricsServer.start(metrics.registry, port=server.port)
    assert "--metrics-port" in taken.value.hint
    server.close()
    MetricsServer.start(metrics.registry, port=server.port).close()
