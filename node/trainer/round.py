"""Training one round: which samples, at what rate, how long, and what is told of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from . import checkpoint
from .errors import WorkerError
from .messages import Progress, Train
from .schedule import learning_rate, swarm_samples
from .session import Session

_NOTICE_SECONDS = 0.5
_MOST_SKIPPED = 20


@dataclass
class RoundTraining:
    """A `Train` request being carried out, one `step` a call."""

    session: Session
    request: Train
    clock: Callable[[], float] = time.monotonic
    _skipped_in_a_row: int = 0
    _noticed: float = field(default=float("-inf"))
    _saved: float = 0.0
    _busy: float = 0.0
    _tokens: int = 0

    def __post_init__(self) -> None:
        session, request = self.session, self.request
        session.require_base()
        session.require_batches()
        if request.round != session.round:
            session.round, session.position = request.round, 0
        if request.position is not None:
            session.position = request.position
        self._saved = self.clock()

    @property
    def steps(self) -> int:
        """Steps of the round that are done, those of an earlier life included."""
        return self.session.position // self.session.event.inner.batch

    @property
    def finished(self) -> bool:
        """Whether all steps that were asked for are done."""
        return 0 < self.request.max_steps <= self.steps

    @property
    def rate(self) -> float:
        """The learning rate of the next step."""
        samples = swarm_samples(self.request.base_samples, self.session.position, self.request.peers)
        return learning_rate(self.session.event.inner, samples)

    def step(self) -> Progress | None:
        """Take one inner step; return what is to be told, if it is time to. Raises WorkerError if it cannot go on."""
        session, began = self.session, self.clock()
        size = session.event.inner.batch
        batches = session.require_batches()
        batch = batches.draw(session.event.digest, session.round, session.peer_id, session.position, size)
        loss = session.loop.step(batch, self.rate)
        session.position += size
        session.meter.add(size, loss)
        self._count_skipped(loss)
        now = self.clock()
        self._busy += now - began
        self._tokens += batch.tokens
        if now - self._saved >= session.checkpoint_seconds:
            checkpoint.save(session)
            self._saved = self.clock()
        if now - self._noticed < _NOTICE_SECONDS:
            return None
        self._noticed = now
        return Progress(**self.report())

    def _count_skipped(self, loss: float | None) -> None:
        self._skipped_in_a_row = 0 if loss is not None else self._skipped_in_a_row + 1
        if self._skipped_in_a_row >= _MOST_SKIPPED:
            self.session.forget_unsent()
            self.session.optimiser.reset()
            raise WorkerError("diverged", f"{_MOST_SKIPPED} steps in a row had gradients that are not finite")

    def report(self) -> dict[str, float]:
        """Return the fields of a Progress or Trained notice."""
        meter = self.session.meter
        return {
            "round": self.session.round,
            "steps": meter.steps,
            "samples": meter.samples,
            "position": self.session.position,
            "loss": meter.loss,
            "rate": self.rate,
            "tokens_per_second": self._tokens / self._busy if self._busy else 0.0,
            "skipped": meter.skipped,
        }
