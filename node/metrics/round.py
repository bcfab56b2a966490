"""The running round and the swarm in it, as this node sees them: what peers say of themselves, summed up.

A coordinator's node sees with these the volunteers that nobody can scrape. No peer gets a series of its own: a swarm of a
thousand costs as many as one of three.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from .group import MetricGroup
from .labels import QUANTILES, ROUND_PHASES
from .swarm_stats import SwarmStats


class RoundMetrics(MetricGroup):
    """Set by `health`, from the round machine."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry)
        self.age = self.gauge("collab_round_age_seconds", "Time since this node began the round that runs.")
        self.limit = self.gauge(
            "collab_round_limit_seconds", "How long a round of this event takes at most while every vote's first view succeeds."
        )
        self._phase = self.gauge("collab_round_phase", "1 for the phase that the round is in, else 0.", "phase", ROUND_PHASES)
        self.contributions = self.gauge("collab_round_contributions", "Contributions that this node knows of in this round.")
        self.committee = self.gauge("collab_committee_members", "Members of the committee that decides on the running round.")
        self.quorum = self.gauge("collab_committee_quorum", "Members that have to agree for the round's commit to be final.")
        self.present = self.gauge("collab_committee_present", "Members of the committee heard of lately, this node included.")
        self.epoch = self.gauge("collab_vote_epoch", "Committees given up in the running round: they found no quorum.")
        self.view = self.gauge("collab_vote_view", "Proposers that were given up in the running round's epoch.")
        self.trainers = self.gauge("collab_swarm_trainers", "Peers that train in the running round, this node included.")
        self.samples = self.gauge("collab_swarm_round_samples", "Samples of the running round so far, as all trainers say.")
        self.rate = self.gauge("collab_swarm_samples_per_second", "Speed of all trainers together, as they say.")
        self._rates = self.unknown(
            "collab_swarm_trainer_samples_per_second", "Speed of the slowest, median and fastest trainer.", "quantile", QUANTILES
        )
        self._losses = self.unknown(
            "collab_swarm_trainer_loss_nats", "Training loss of the best, median and worst trainer.", "quantile", QUANTILES
        )

    def phase(self, phase: str) -> None:
        """Say which phase the round is in."""
        for name in ROUND_PHASES:
            self._phase.labels(name).set(name == phase)

    def swarm(self, stats: SwarmStats) -> None:
        """Show what the trainers say; speeds and losses stay as they were until somebody has taken a step in this round."""
        self.trainers.set(stats.trainers)
        self.samples.set(stats.samples)
        self.rate.set(stats.rate)
        for gauge, spread in ((self._rates, stats.rates), (self._losses, stats.losses)):
            if spread is not None:
                for quantile, value in zip(QUANTILES, spread, strict=True):
                    gauge.labels(quantile).set(value)
