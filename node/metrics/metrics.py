"""What a node shows at `/metrics`, in a registry of its own. Names follow https://prometheus.io/docs/practices/naming/.

Label values come from short lists (`metric_labels`): a peer that invents reasons or kinds cannot make the node remember them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Histogram, Info
from prometheus_client.process_collector import ProcessCollector

from .group import MetricGroup
from .health import HealthMetrics
from .labels import OTHER, PHASES, REASONS, bounded
from .round import RoundMetrics
from .traffic import TrafficCollector, TrafficCounters


class Metrics(MetricGroup):
    """One node's metrics. The attributes are prometheus-client's; methods exist where a label's values must be bounded."""

    def __init__(self) -> None:
        super().__init__(CollectorRegistry())
        self._training()
        self._history()
        self._merging()
        self.round = RoundMetrics(self.registry)
        self.health = HealthMetrics(self.registry)
        self._build = Info("collab_build", "Versions of what runs.", registry=self.registry)
        self._event = Info("collab_event", "The event that this node is in.", registry=self.registry)
        ProcessCollector(registry=self.registry)

    def _training(self) -> None:
        self.loss = self.unknown("collab_training_loss_nats", "Mean training loss of this node's round so far; NaN before.")
        self.samples = self.counter("collab_training_samples_total", "Samples this node trained on.")
        self.accepted_samples = self.counter("collab_training_accepted_samples_total", "Samples of this node that commits took.")
        self.tokens = self.counter("collab_training_tokens_total", "Tokens this node trained on.")
        self.tokens_per_second = self.gauge("collab_training_tokens_per_second", "Speed of this node's trainer.")

    def _history(self) -> None:
        self.rounds = self.counter("collab_rounds_total", "Rounds that ended with a final commit while this node ran.")
        self.head_round = self.gauge("collab_head_round", "Round of this node's newest commit.")
        self.head_samples = self.gauge("collab_head_samples", "Samples that the newest commit holds, since the root.")
        self.head_timestamp = self.gauge("collab_head_timestamp_seconds", "When the newest commit was adopted (Unix time).")
        self.head_age = self.gauge("collab_head_age_seconds", "Time since this node adopted its newest commit.")
        self.head_loss = self.unknown(
            "collab_head_loss_nats", "Mean training loss of the newest commit's contributions; NaN before the first."
        )
        self.held_out_loss = self.unknown(
            "collab_held_out_loss_nats", "Loss of the newest evaluated commit on held-out samples; NaN until there is one."
        )
        self.contributors = self.gauge("collab_head_contributors", "Contributions in the newest commit.")
        self.payload_bytes = self.gauge("collab_head_payload_bytes", "Size of all payloads in the newest commit.")
        self.roster = self.gauge("collab_roster_members", "Members on the newest commit's roster.")

    def _merging(self) -> None:
        self.phase_seconds = self.seconds("collab_round_phase_seconds", "Time spent in each phase of a round.", "phase", PHASES)
        self.accepted = self.counter("collab_contributions_accepted_total", "Contributions of all peers in adopted commits.")
        self._refused = self.counter(
            "collab_contributions_refused_total", "What peers sent about rounds and was refused, by reason.", "reason",
            (*sorted(REASONS), OTHER),
        )  # fmt: skip
        self.merge_seconds = self.seconds("collab_merge_seconds", "Time to merge contributions into a candidate.")
        self.replay_seconds = self.seconds("collab_replay_seconds", "Time to replay a commit of others.")
        self.staleness = Histogram(
            "collab_contribution_staleness_commits", "How many commits behind accepted contributions were.",
            buckets=(0, 1, 2, 4, 8, 16, 32, 64), registry=self.registry,
        )  # fmt: skip

    def refused(self, reason: str, amount: int = 1) -> None:
        """Count a refused contribution."""
        self._refused.labels(bounded(reason, REASONS)).inc(amount)

    def phase(self, phase: str, seconds: float) -> None:
        """Note how long a phase of a round took."""
        self.phase_seconds.labels(bounded(phase, PHASES)).observe(seconds)

    def build(self, versions: Mapping[str, str]) -> None:
        """Say what runs, such as `{"version": "0.1.0", "python": "3.11.9"}`."""
        self._build.info(dict(versions))

    def event(self, event: bytes, name: str) -> None:
        """Say which event this node is in; `event` is its id."""
        self._event.info({"event": event.hex()[:16], "name": name})

    def read_traffic(self, traffic: TrafficCounters) -> None:
        """Take bytes, messages and refusals from the network's own counters, whenever they are asked for."""
        self.registry.register(TrafficCollector(traffic))

    def read_age_from(self, age: Callable[[], float]) -> None:
        """Compute the age of the newest commit whenever it is asked for."""
        self.head_age.set_function(age)
