"""Spreading bytes over time: a token bucket that goes into debt, so that whoever takes later waits longer, and nobody starves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

from .blob_limits import BlobLimits

_BURST_SECONDS = 1.0
_STREAM_RATE = 64_000
_PART_BYTES = 256 * 1024
_MOST_STREAMS = 4


class TokenBucket:
    """At most `rate` × seconds + one second's worth of bytes go through in any span of time, and one chunk more."""

    def __init__(self, rate: float, now: float) -> None:
        """`rate` > 0 in bytes a second; `now` in seconds of a monotonic clock."""
        self.rate = rate
        self._level = rate * _BURST_SECONDS
        self._at = now

    def take(self, count: int, now: float) -> float:
        """Take `count` bytes; return how many seconds to wait before they may go."""
        self._level = min(self.rate * _BURST_SECONDS, self._level + self.rate * max(0.0, now - self._at)) - count
        self._at = max(self._at, now)
        return max(0.0, -self._level / self.rate)


class Pacer:
    """What a direction of traffic waits at. `closed`: nothing more may go (a quota is used up)."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self.closed = False
        self._bucket: TokenBucket | None = None
        self._clock = clock
        self._sleep = sleep

    @property
    def rate(self) -> float:
        """Bytes a second; 0: as fast as it goes."""
        return self._bucket.rate if self._bucket is not None else 0.0

    def limit(self, rate: float) -> None:
        """Let `rate` bytes a second pass from now on; 0: all."""
        if rate != self.rate:
            self._bucket = TokenBucket(rate, self._clock()) if rate else None

    def allows(self, streams: int) -> bool:
        """Say whether one more stream beside `streams` gets enough of the rate to be of use."""
        return not self.closed and (self._bucket is None or streams < max(1, int(self.rate // _STREAM_RATE)))

    async def take(self, count: int) -> None:
        """Wait until `count` more bytes may pass."""
        wait = self._bucket.take(count, self._clock()) if self._bucket is not None else 0.0
        if wait > 0:
            await self._sleep(wait)

    def chunk(self, most: int) -> int:
        """Return how many bytes to send at a time: a quarter second's worth, so that a reader never thinks that we are gone."""
        return most if self._bucket is None else max(16 * 1024, min(most, int(self.rate / 4)))

    def fits(self, limits: BlobLimits) -> BlobLimits:
        """Return limits of fetching that suit the rate: between two of its requests a peer is not kept waiting for long."""
        if self._bucket is None:
            return limits
        streams = max(1, min(_MOST_STREAMS, int(self.rate // _STREAM_RATE)))
        return replace(limits, part_bytes=min(limits.part_bytes, _PART_BYTES), streams=streams, streams_per_peer=1)
