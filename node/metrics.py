"""What a node shows at `/metrics`, in a registry of its own. Names follow https://prometheus.io/docs/practices/naming/.

Label values come from short lists: a peer that invents reasons or kinds cannot make the node remember them.
"""

from __future__ import annotations

from collections import Counter as Counts
from collections.abc import Callable, Mapping
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from .metric_labels import BYTE_KINDS, CHANNELS, CHILDREN, OTHER, PHASES, REASONS, bounded

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)


class TrafficCounters(Protocol):
    """Bytes by kind, and refusals by `channel_reason`, since the start of the process (`net.traffic.Traffic`)."""

    sent: Counts[str]
    received: Counts[str]
    refused: Counts[str]


class Metrics:
    """One node's metrics. The attributes are prometheus-client's; methods exist where a label's values must be bounded."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._training()
        self._merging()
        self._swarm()
        self._process()

    def _training(self) -> None:
        self.loss = self._gauge("collab_training_loss_nats", "Mean training loss of this node's round so far.")
        self.held_out_loss = self._gauge("collab_held_out_loss_nats", "Loss of the newest evaluated commit on held-out samples.")
        self.samples = self._counter("collab_training_samples_total", "Samples this node trained on.")
        self.tokens = self._counter("collab_training_tokens_total", "Tokens this node trained on.")
        self.tokens_per_second = self._gauge("collab_training_tokens_per_second", "Speed of this node's trainer.")
        self.phase_seconds = Histogram(
            "collab_round_phase_seconds", "Time spent in each phase of a round.", ["phase"],
            buckets=_SECONDS, registry=self.registry,
        )  # fmt: skip
        for phase in PHASES:
            self.phase_seconds.labels(phase)

    def _merging(self) -> None:
        self.rounds = self._counter("collab_rounds_total", "Rounds that ended with a final commit while this node ran.")
        self.head_round = self._gauge("collab_head_round", "Round of this node's newest commit.")
        self.head_samples = self._gauge("collab_head_samples", "Samples that the newest commit holds, since the root.")
        self.head_timestamp = self._gauge("collab_head_timestamp_seconds", "When the newest commit was adopted (Unix time).")
        self.head_age = self._gauge("collab_head_age_seconds", "Time since this node adopted its newest commit.")
        self.contributors = self._gauge("collab_head_contributors", "Contributions in the newest commit.")
        self.accepted = self._counter("collab_contributions_accepted_total", "Contributions of all peers in adopted commits.")
        self._refused = Counter(
            "collab_contributions_refused_total", "Contributions refused, by reason.", ["reason"], registry=self.registry
        )
        self.merge_seconds = self._histogram("collab_merge_seconds", "Time to merge contributions into a candidate.")
        self.replay_seconds = self._histogram("collab_replay_seconds", "Time to replay a commit of others.")
        self.staleness = Histogram(
            "collab_contribution_staleness_commits", "How many commits behind accepted contributions were.",
            buckets=(0, 1, 2, 4, 8, 16, 32, 64), registry=self.registry,
        )  # fmt: skip

    def _swarm(self) -> None:
        self.peers = self._gauge("collab_peers", "Peers that showed themselves in the last rounds.")
        self.connections = self._gauge("collab_peer_connections", "Peers that p2pd is connected with.")
        self.gossip_peers = self._gauge("collab_gossip_peers", "Peers in the gossip mesh.")
        self.dht_nodes = self._gauge("collab_dht_nodes", "Nodes in the DHT's routing table.")
        self._healthy = Gauge("collab_up", "Whether a part of the node works (1) or not (0).", ["part"], registry=self.registry)

    def _process(self) -> None:
        self._restarts = Counter(
            "collab_child_restarts_total", "Times a child process died and was started again.", ["child"], registry=self.registry
        )
        for child in CHILDREN:
            self._restarts.labels(child)
        self._build = Info("collab_build", "Versions of what runs.", registry=self.registry)

    def refused(self, reason: str, amount: int = 1) -> None:
        """Count a refused contribution."""
        self._refused.labels(bounded(reason, REASONS)).inc(amount)

    def restarted(self, child: str) -> None:
        """Count a restart of a child process."""
        self._restarts.labels(bounded(child, CHILDREN)).inc()

    def healthy(self, part: str, works: bool) -> None:
        """Say whether `dht`, `gossip` or a child process works."""
        self._healthy.labels(bounded(part, (*CHILDREN, "dht", "gossip"))).set(works)

    def phase(self, phase: str, seconds: float) -> None:
        """Note how long a phase of a round took."""
        self.phase_seconds.labels(bounded(phase, PHASES)).observe(seconds)

    def build(self, versions: Mapping[str, str]) -> None:
        """Say what runs, such as `{"version": "0.1.0", "python": "3.11.9"}`."""
        self._build.info(dict(versions))

    def read_traffic(self, traffic: TrafficCounters) -> None:
        """Take bytes and refusals from the network's own counters, whenever they are asked for."""
        self.registry.register(_TrafficCollector(traffic))

    def read_age_from(self, age: Callable[[], float]) -> None:
        """Compute the age of the newest commit whenever it is asked for."""
        self.head_age.set_function(age)

    def _gauge(self, name: str, help: str) -> Gauge:
        return Gauge(name, help, registry=self.registry)

    def _counter(self, name: str, help: str) -> Counter:
        return Counter(name, help, registry=self.registry)

    def _histogram(self, name: str, help: str) -> Histogram:
        return Histogram(name, help, buckets=_SECONDS, registry=self.registry)


class _TrafficCollector(Collector):
    """Reads the network's counters, and folds kinds and reasons that are not on our lists together."""

    def __init__(self, traffic: TrafficCounters) -> None:
        self._traffic = traffic

    def collect(self) -> list[Metric]:
        return [self._bytes(), self._refused()]

    def _bytes(self) -> Metric:
        family = CounterMetricFamily("collab_network_bytes", "Bytes by direction and kind.", labels=["direction", "kind"])
        for direction, counter in (("sent", self._traffic.sent), ("received", self._traffic.received)):
            totals = Counts(dict.fromkeys((*BYTE_KINDS, OTHER), 0))
            for kind, count in dict(counter).items():
                totals[bounded(kind, BYTE_KINDS)] += count
            for kind, count in totals.items():
                family.add_metric([direction, kind], count)
        return family

    def _refused(self) -> Metric:
        labels = ["channel", "reason"]
        family = CounterMetricFamily("collab_network_refused", "What was refused, by channel and reason.", labels=labels)
        totals: Counts[tuple[str, str]] = Counts()
        for name, count in dict(self._traffic.refused).items():
            channel, _, reason = name.partition("_")
            totals[bounded(channel, CHANNELS), bounded(reason, REASONS)] += count
        for values, count in sorted(totals.items()):
            family.add_metric(values, count)
        return family
