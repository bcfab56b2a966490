"""What can be measured of a version: a number from the weights at it.

A `Metric` is given a replay that stands at the version.
"""

from __future__ import annotations

import asyncio
import math
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from ...protocol.commit import Commit
from ...protocol.event import EventManifest
from ...protocol.gates import EventGate
from ..errors import UserError
from ..gates.run import request_for, result_of, seed_of
from ..store import Store
from ..trainer.messages import VersionRef
from .bisect_state import Question
from .replay import Replay
from .revisions import read_commit

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


class FailsGate:
    """1 for a version that fails a gate against `good`, 0 for one that passes it."""

    def __init__(self, gate: EventGate, store: Store, good: Commit, folder: Path) -> None:
        self._gate = gate
        self._store = store
        self._good = good
        self._file = folder / "good.safetensors"

    async def __call__(self, at: Replay) -> float:
        here = at.base
        assert here is not None
        version = self._store.commit(here)
        if not self._file.exists():
            await at.go_to(self._good)
            await at.write(self._file)
            await at.go_to(version)
        good = VersionRef(of="file", path=str(self._file))
        seed = seed_of(self._good.state, version.state)
        answer = await at.gate(request_for(self._gate, VersionRef(of="base"), seed, good))
        return float(not result_of(answer).measurement.passed)


@asynccontextmanager
async def measuring(event: EventManifest, store: Store, question: Question) -> AsyncIterator[Metric]:
    """Give what a question measures, while the block runs."""
    with tempfile.TemporaryDirectory(prefix="collab-bisect-") as folder:
        if question.measure == "command":
            yield status_of(question.name)
        elif question.measure == "gate":
            good = read_commit(store, bytes.fromhex(question.good))
            yield FailsGate(_gate(event, question.name), store, good, Path(folder))
        else:
            yield METRICS[question.name](question.samples)


def _gate(event: EventManifest, name: str) -> EventGate:
    (gate,) = [gate for gate in event.gate if gate.name == name]
    return gate


def finite(value: float) -> float | None:
    """Return the value, None for NaN and infinities: no number that a version could be good with."""
    return value if math.isfinite(value) else None
