"""Inner steps, and what is told of them unasked."""

from __future__ import annotations

from typing import ClassVar

from .base import Notice, Request


class Train(Request):
    """Take inner steps on the base until `max_steps` of the round are done (0: until told to stop). → Done

    `base_samples` is the swarm's count at the base; `peers` how many are expected to contribute: the learning rate is that of
    base_samples + own samples × peers. `position` is where in the round's sample sequence to begin; None goes on where this
    worker is in that round, 0 in a new one. Notices follow. Errors: no_base, no_data.
    """

    OP = "train"
    round: int
    base_samples: int
    peers: int = 1
    max_steps: int = 0
    position: int | None = None


class Stop(Request):
    """Stop after the step that is being taken. A `trained` notice precedes the answer if it was training. → Done"""

    OP = "stop"


class Progress(Notice):
    """How far the round is. At most two a second. `rate` is the learning rate, `loss` the mean since the last payload."""

    EVENT: ClassVar[str] = "progress"
    round: int
    steps: int
    samples: int
    position: int
    loss: float
    rate: float
    tokens_per_second: float
    skipped: int = 0
    """Steps whose gradient was not finite, and that changed nothing."""


class Trained(Progress):
    """Training ended: all steps are done, or it was told to stop."""

    EVENT: ClassVar[str] = "trained"


class Failed(Notice):
    """Training ended because it cannot go on; out_of_memory, diverged or another WorkerError's code."""

    EVENT: ClassVar[str] = "failed"
    code: str
    text: str
