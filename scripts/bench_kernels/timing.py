"""Medians of several runs, on the CPU or on a GPU."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Timed:
    """Seconds: the median, the least and the most."""

    median: float
    least: float
    most: float


def timed(work: Callable[[], object], device: torch.device, runs: int) -> Timed:
    """Run `work` once to warm up, then `runs` times."""
    work()
    seconds = [_once(work, device) for _ in range(runs)]
    return Timed(statistics.median(seconds), min(seconds), max(seconds))


def _once(work: Callable[[], object], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    began = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began
