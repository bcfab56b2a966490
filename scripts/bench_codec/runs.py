"""One run of the bench, in a process of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from .settings import EVENTS, Setting, all_settings
from .simulation import Ended, Simulation


@dataclass(frozen=True)
class Run:
    """What to train: an event and a setting by name, a seed, and whether to hurry."""

    event: str
    setting: str
    seed: int
    quick: bool
    cache: Path


def rows(runs: Sequence[Run], jobs: int) -> Iterator[dict[str, Any]]:
    """Yield a row a run, as they end."""
    if jobs <= 1:
        yield from map(row_of, runs)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        waiting = [pool.submit(row_of, run) for run in runs]
        try:
            for done in as_completed(waiting):
                yield done.result()
        finally:
            pool.shutdown(cancel_futures=True)


def row_of(run: Run) -> dict[str, Any]:
    """Train, and return what the JSON says of it."""
    torch.set_num_threads(1)
    setting = next(setting for setting in all_settings() if setting.name == run.setting)
    folder = run.cache / str(os.getpid())
    folder.mkdir(exist_ok=True)
    event = EVENTS[run.event](run.quick)
    event = event.model_copy(update={"inner": event.inner.model_copy(update={"kind": setting.inner})})
    simulation = Simulation(event, setting.compressor, setting.outer, setting.merge, run.seed, cache=folder)
    return {"event": run.event, "seed": run.seed, "quick": run.quick, **_described(setting), **_measured(simulation.run())}


def _described(setting: Setting) -> dict[str, Any]:
    return {
        "name": setting.name,
        "k": setting.k,
        "bits": setting.value_bits,
        "density_schedule": setting.schedule,
        "inner": setting.inner,
        "merge": setting.merge,
        "outer_rate": setting.outer.rate,
        "outer_momentum": setting.outer.momentum,
    }


def _measured(ended: Ended) -> dict[str, Any]:
    return {
        "bits_per_parameter": ended.bits_per_parameter,
        "relative_error": ended.relative_error,
        "end_loss": ended.end_loss,
        "losses": list(ended.losses),
    }
