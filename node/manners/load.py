"""How busy other programs keep the processor: all that is used, less what this node's own processes use."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

import psutil

_SAMPLES = 4  # at one a second: an average over three seconds, so that opening a window is no reason to go
_FAMILY_EVERY = 5

Sample = tuple[float, dict[int, float]]


class OthersLoad:
    """Call `read` about once a second."""

    def __init__(
        self,
        total: Callable[[], tuple[float, float]] | None = None,
        own: Callable[[], dict[int, float]] | None = None,
    ) -> None:
        """`total` gives the seconds that all cores were busy, and were there; `own` those of our processes. For tests."""
        self._total = total or _total_seconds
        self._own = own or _Family().seconds
        self._samples: deque[tuple[float, float, dict[int, float]]] = deque(maxlen=_SAMPLES)

    def read(self) -> float | None:
        """Return the percentage of all cores that others used in the last seconds; None the first time."""
        busy, there = self._total()
        self._samples.append((busy, there, self._own()))
        first, last = self._samples[0], self._samples[-1]
        span = last[1] - first[1]
        if span <= 0:
            return None
        # A process that ended meanwhile is counted as somebody else's: for three seconds, and only what it did last.
        ours = sum(seconds - first[2].get(pid, 0.0) for pid, seconds in last[2].items())
        return min(100.0, max(0.0, 100.0 * (last[0] - first[0] - ours) / span))


def _total_seconds() -> tuple[float, float]:
    times = psutil.cpu_times()._asdict()
    # Linux counts the time of guests in `user` and `nice` too.
    there = sum(times.values()) - times.get("guest", 0.0) - times.get("guest_nice", 0.0)
    return there - times.get("idle", 0.0) - times.get("iowait", 0.0), there


class _Family:
    """This process and its children; who belongs to it is looked up every few times, because that is the dear part."""

    def __init__(self) -> None:
        self._members: list[psutil.Process] = []
        self._age = _FAMILY_EVERY

    def seconds(self) -> dict[int, float]:
        self._age += 1
        if self._age >= _FAMILY_EVERY:
            self._members, self._age = [psutil.Process(), *psutil.Process().children(recursive=True)], 0
        return dict(_seconds(self._members))


def _seconds(processes: Iterable[psutil.Process]) -> Iterable[tuple[int, float]]:
    for process in processes:
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        yield process.pid, times.user + times.system
