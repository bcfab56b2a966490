"""How much this node has trained since it started, for its owner and its metrics."""

from __future__ import annotations

from ..metrics.metrics import Metrics
from ..trainer.messages import Progress


class OwnTraining:
    """Counts samples over all rounds from the worker's notices, which count from each round's start."""

    def __init__(self, metrics: Metrics) -> None:
        self.samples = 0
        self._metrics = metrics
        self._counted = (-1, 0)

    def count(self, notice: Progress, tokens_per_sample: int) -> None:
        """Count what is new in a notice."""
        new = notice.samples - (self._counted[1] if self._counted[0] == notice.round else 0)
        self._counted = (notice.round, notice.samples)
        self.samples += max(0, new)
        self._metrics.samples.inc(max(0, new))
        self._metrics.tokens.inc(max(0, new) * tokens_per_sample)
        self._metrics.loss.set(notice.loss)
        self._metrics.tokens_per_second.set(notice.tokens_per_second)
