"""Clock skew: measured over calls, by the median, in the middle of the call."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest
from daemon.kit import FakeRpc, Internet
from hypothesis import given
from hypothesis import strategies as st

from collab.node.clock_skew import CLOCK, ClockSkew
from collab.node.net.rpc import Rpc


def nodes(ahead: list[float]) -> tuple[Internet, ClockSkew]:
    """The last of these clocks asks all the others; each is ahead of true time by so many seconds."""
    net, names = Internet(), [str(number) for number in range(len(ahead))]
    made = [
        ClockSkew(cast(Rpc, FakeRpc(net, name)), lambda: names[:-1], lambda skew: None, clock=lambda skew=skew: 1e9 + skew)  # type: ignore[misc]
        for name, skew in zip(names, ahead, strict=True)
    ]
    return net, made[-1]


@given(st.lists(st.integers(-600, 600), min_size=1, max_size=5), st.integers(-600, 600))
def test_a_node_finds_by_how_much_it_is_ahead_of_the_median(theirs: list[int], ours: int) -> None:
    _, asking = nodes([*map(float, theirs), float(ours)])
    middle = sorted(theirs)
    expected = ours - (middle[len(middle) // 2] + middle[(len(middle) - 1) // 2]) / 2
    assert asyncio.run(asking.measure()) == pytest.approx(expected, abs=0.001)


async def test_a_minority_of_liars_and_the_dead_say_nothing() -> None:
    net, asking = nodes([0.0, 0.0, 1e7, 0.0, 0.0])
    del net.rpcs["0"]

    async def nonsense(peer: str, body: bytes) -> bytes:
        return b"half past nine"

    net.rpcs["1"].register(CLOCK, nonsense)
    net.rpcs["4"].calls = 0
    assert await asking.measure() == pytest.approx(-5e6, abs=1)  # two answers are left: no majority
    net, asking = nodes([0.0, 0.0, 1e7, 0.0])
    assert await asking.measure() == pytest.approx(0.0, abs=0.001)


async def test_nobody_there_is_no_answer() -> None:
    net, asking = nodes([3.0, 0.0])
    net.rpcs.clear()
    assert await asking.measure() is None


async def test_the_call_is_halfway_between_its_ends() -> None:
    net = Internet()
    ClockSkew(cast(Rpc, FakeRpc(net, "slow")), tuple, lambda skew: None, clock=lambda: 1e9 + 4.0)
    times = iter([1e9, 1e9 + 8.0])
    asking = ClockSkew(cast(Rpc, FakeRpc(net, "us")), lambda: ["slow"], lambda skew: None, clock=lambda: next(times))
    assert await asking.measure() == pytest.approx(0.0, abs=0.001)


async def test_only_a_few_are_asked() -> None:
    net, asking = nodes([0.0] * 9)
    await asking.measure()
    assert net.rpcs["8"].calls == 5


async def test_what_is_measured_is_reported() -> None:
    net, heard = Internet(), list[float]()
    ClockSkew(cast(Rpc, FakeRpc(net, "peer")), tuple, heard.append, clock=lambda: 1e9)
    asking = ClockSkew(cast(Rpc, FakeRpc(net, "us")), lambda: ["peer"], heard.append, clock=lambda: 1e9 + 2)
    running = asyncio.create_task(asking.run())
    for _ in range(20):
        await asyncio.sleep(0)
    running.cancel()
    assert heard == [pytest.approx(2.0, abs=0.001)]
