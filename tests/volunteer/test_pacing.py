"""Bytes spread over time, with a clock of the test's own."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from collab.node.net.blob_limits import BlobLimits
from collab.node.net.pacing import Pacer, TokenBucket

takes = st.lists(st.tuples(st.integers(1, 5000), st.floats(0, 3)), min_size=1, max_size=40)


@given(st.floats(100, 1e6), takes)
def test_no_span_of_time_lets_more_through_than_the_rate(rate: float, steps: list[tuple[int, float]]) -> None:
    bucket, now, passed = TokenBucket(rate, 0.0), 0.0, list[tuple[float, int]]()
    for count, step in steps:
        now += step
        passed.append((now + bucket.take(count, now), count))
    moments = [moment for moment, _ in passed]
    assert all(first <= second + 1e-6 for first, second in pairwise(moments))
    for start in range(len(passed)):
        for end in range(start, len(passed)):
            sent = sum(count for _, count in passed[start : end + 1])
            assert sent <= rate * (moments[end] - moments[start] + 1.0) + passed[start][1] + 1e-3


@given(st.floats(100, 1e6), takes)
def test_the_rate_is_used(rate: float, steps: list[tuple[int, float]]) -> None:
    """Of what comes all at once, the last byte is out as soon as the rate allows."""
    bucket = TokenBucket(rate, 0.0)
    waits = [bucket.take(count, 0.0) for count, _ in steps]
    total = sum(count for count, _ in steps)
    assert abs(waits[-1] - max(0.0, total / rate - 1.0)) < 1e-6


class Time:
    """A clock that moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


async def test_a_pacer_waits_as_long_as_its_bucket_says_and_not_at_all_without_one() -> None:
    time = Time()
    pacer = Pacer(time.clock, time.sleep)
    await pacer.take(10**12)
    assert (time.now, pacer.rate, pacer.chunk(512)) == (0.0, 0.0, 512)
    pacer.limit(100_000)
    for _ in range(5):
        await pacer.take(100_000)
    assert time.now == 4.0
    pacer.limit(0)
    await pacer.take(10**9)
    assert time.now == 4.0


def test_few_streams_share_a_small_rate() -> None:
    pacer = Pacer(lambda: 0.0)
    assert pacer.allows(1000)
    pacer.limit(64_000)
    assert [pacer.allows(streams) for streams in (0, 1)] == [True, False]
    assert pacer.chunk(512 * 1024) == 16 * 1024
    fitting = pacer.fits(BlobLimits())
    assert (fitting.streams, fitting.streams_per_peer, fitting.part_bytes) == (1, 1, 256 * 1024)
    # Between two requests of a stream the peer waits for one part of each stream.
    assert fitting.streams * fitting.part_bytes / 64_000 < BlobLimits().idle
    pacer.limit(10**9)
    assert (pacer.allows(100), pacer.chunk(512 * 1024), pacer.fits(BlobLimits()).streams) == (True, 512 * 1024, 4)
    pacer.closed = True
    assert not pacer.allows(0)
