"""What the sidecar allows itself and others, and the token buckets that enforce the rates. Time is an argument."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass


@dataclass(frozen=True)
class Rate:
    """A token bucket's size (`burst`) and refill (`per_second`)."""

    per_second: float
    burst: float


@dataclass(frozen=True)
class GossipLimits:
    """Bounds on what is sent, received and accepted. The daemon may send other values with `start`."""

    message_bytes: int = 64 * 1024
    rpc_bytes: int = 256 * 1024
    connections: int = 128
    connections_per_address: int = 32
    # A forwarder is charged for every message it brings that we have not seen, an author for every message it signed.
    forwarder: Rate = Rate(200.0, 600.0)
    author: Rate = Rate(20.0, 100.0)
    duplicate_seconds: float = 30.0


class Buckets:
    """One token bucket a key, for the `keys` most recent keys."""

    def __init__(self, rate: Rate, keys: int = 4096) -> None:
        self._rate = rate
        self._keys = keys
        self._levels: OrderedDict[bytes, tuple[float, float]] = OrderedDict()

    def take(self, key: bytes, now: float) -> bool:
        """Take a token of `key` at `now` (seconds, monotonic); False if there is none."""
        level, since = self._levels.pop(key, (self._rate.burst, now))
        level = min(self._rate.burst, level + (now - since) * self._rate.per_second)
        granted = level >= 1.0
        self._levels[key] = (level - 1.0 if granted else level, now)
        if len(self._levels) > self._keys:
            self._levels.popitem(last=False)
        return granted


class Recent:
    """Remembers keys for `seconds`, at most `keys` of them."""

    def __init__(self, seconds: float, keys: int = 8192) -> None:
        self._seconds = seconds
        self._keys = keys
        self._seen: OrderedDict[bytes, float] = OrderedDict()

    def add(self, key: bytes, now: float) -> bool:
        """Remember `key`; False if it is remembered already. The first sight counts: repeating a key does not prolong it."""
        while self._seen and next(iter(self._seen.values())) <= now - self._seconds:
            self._seen.popitem(last=False)
        if key in self._seen:
            return False
        self._seen[key] = now
        if len(self._seen) > self._keys:
            self._seen.popitem(last=False)
        return True
