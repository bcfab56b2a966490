"""Token buckets by key. Time is an argument."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass


@dataclass(frozen=True)
class Rate:
    """A token bucket's refill (`per_second`) and size (`burst`)."""

    per_second: float
    burst: float


class Buckets:
    """One token bucket a key, for the `keys` most recent keys."""

    def __init__(self, rate: Rate, keys: int = 4096) -> None:
        self._rate = rate
        self._keys = keys
        self._levels: OrderedDict[str | bytes, tuple[float, float]] = OrderedDict()

    def take(self, key: str | bytes, now: float) -> bool:
        """Take a token of `key` at `now` (seconds, monotonic); False if there is none."""
        level, since = self._levels.pop(key, (self._rate.burst, now))
        level = min(self._rate.burst, level + (now - since) * self._rate.per_second)
        granted = level >= 1.0
        self._levels[key] = (level - 1.0 if granted else level, now)
        if len(self._levels) > self._keys:
            self._levels.popitem(last=False)
        return granted
