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


def timed_on_device(enqueue: Callable[[], object], device: torch.device, runs: int) -> Timed:
    """How long a GPU works on what `enqueue` gives it without waiting, however long that takes the host; on a CPU as `timed`."""
    if device.type != "cuda":
        return timed(enqueue, device, runs)
    enqueue()
    seconds = []
    for _ in range(runs):
        torch.cuda.synchronize(device)
        began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        torch.cuda._sleep(_HEAD_START)  # type: ignore[no-untyped-call]
        began.record()
        enqueue()
        ended.record()
        ended.synchronize()
        seconds.append(began.elapsed_time(ended) / 1000)
    return Timed(statistics.median(seconds), min(seconds), max(seconds))


_HEAD_START = 10_000_000
"""Cycles that the device is kept busy, some milliseconds: till then the host has enqueued everything."""


def _once(work: Callable[[], object], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    began = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began
