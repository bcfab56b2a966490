"""What can be measured of a version: a number from the weights at it.

A `Metric` is given a replay that stands at the version. Whoever has another one (a gate of the event's) adds it to `METRICS`.
"""

from __future__ import annotations

import asyncio
import math
import os
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from ..errors import UserError
from .replay import Replay

Metric = Callable[[Replay], Awaitable[float]]

# What shells and git use for "cannot be run" and "cannot be tested"; above it are signals.
_CANNOT = 125


def held_out_loss(samples: int) -> Metric:
    """Return the event's held-out loss in nats a token, over so many samples (0: as many as the event says)."""

    async def measure(at: Replay) -> float:
        return await at.loss(samples)

    return measure


def status_of(command: str) -> Metric:
    """Return the exit status of a shell command, 0 to 124, that finds the weights in the file named by `COLLAB_WEIGHTS`.

    It is the maintainer's own command, run as himself. A status of 125 or more means that it could not test: UserError.
    """

    async def measure(at: Replay) -> float:
        with tempfile.TemporaryDirectory(prefix="collab-bisect-") as folder:
            weights = Path(folder) / "weights.safetensors"
            await at.write(weights)
            environment = os.environ | {"COLLAB_WEIGHTS": str(weights)}
            process = await asyncio.create_subprocess_shell(command, env=environment)
            status = await process.wait()
        if not 0 <= status < _CANNOT:
            raise UserError(f"the command ended with {status}, which says neither good nor bad", "0 is good, 1 to 124 bad")
        return float(status)

    return measure


METRICS: Mapping[str, Callable[[int], Metric]] = {"loss": held_out_loss}
"""By name, from the number of samples to the metric."""


def metric_named(name: str, samples: int) -> Metric:
    """Return the metric of this name. Raises UserError."""
    if name not in METRICS:
        raise UserError(f"there is no metric {name!r}", f"there is {', '.join(METRICS)}; --run COMMAND takes any command")
    return METRICS[name](samples)


def finite(value: float) -> float | None:
    """Return the value, None for NaN and infinities: no number that a version could be good with."""
    return value if math.isfinite(value) else None
