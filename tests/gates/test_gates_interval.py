"""The intervals hold their error level under optional stopping, whatever the look at which one stops; simulated with seeds."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collab.protocol.gates_interval import FEWEST, BoundedMean, MeanInterval, PairedMean, is_worse

Draw = Callable[[random.Random], float]
LEVEL = 0.05
RUNS = 300


def misses(draw: Draw, mean: float, make: Callable[[float], MeanInterval], *, samples: int = 320, look: int = 16) -> float:
    """The share of runs in which some look's interval lacks the true mean."""
    missed = 0
    for seed in range(RUNS):
        chance, seen = random.Random(seed), make(LEVEL)
        for _ in range(samples // look):
            seen.add(draw(chance) for _ in range(look))
            low, high = seen.interval()
            if seen.count >= FEWEST and not low <= mean <= high:
                missed += 1
                break
    return missed / RUNS


def three_sided(up: float, down: float) -> Draw:
    """1 with probability `up`, −1 with `down`, else 0: an answer that got wrong, right, or stayed."""
    return lambda chance: (draw := chance.random()) and (1.0 if draw < up else -1.0 if draw < up + down else 0.0)


@pytest.mark.parametrize(
    ("draw", "level"),
    [
        (lambda chance: chance.gauss(0, 1), LEVEL),
        (lambda chance: chance.expovariate(1) - chance.expovariate(1), LEVEL),
        (lambda chance: chance.expovariate(1) - 1, LEVEL),
        (lambda chance: math.exp(chance.gauss(0, 1)) - math.exp(0.5), 0.12),  # a skewness of 6: the limit that the module states
    ],
    ids=["normal", "laplace", "exponential", "lognormal"],
)
def test_losses(draw: Draw, level: float) -> None:
    assert misses(draw, 0.0, PairedMean) <= level


@pytest.mark.parametrize(("up", "down"), [(0.02, 0.0), (0.05, 0.03), (0.4, 0.3), (0.001, 0.0)])
def test_right_and_wrong(up: float, down: float) -> None:
    assert misses(three_sided(up, down), up - down, BoundedMean, samples=480) <= LEVEL


def looks_until_clear(draw: Draw, tolerance: float, seen: MeanInterval) -> tuple[bool | None, int]:
    chance = random.Random(1)
    while (worse := is_worse(seen.interval(), tolerance)) is None and seen.count < 4000:
        seen.add(draw(chance) for _ in range(FEWEST))
    return worse, seen.count


def test_clear_answers_come_early_and_close_ones_late() -> None:
    assert looks_until_clear(lambda chance: chance.gauss(0.5, 0.2), 0.01, PairedMean(LEVEL)) == (True, FEWEST)
    assert looks_until_clear(lambda chance: chance.gauss(-0.05, 0.02), 0.01, PairedMean(LEVEL)) == (False, FEWEST)
    worse, samples = looks_until_clear(lambda chance: chance.gauss(0.0, 0.05), 0.01, PairedMean(LEVEL))
    assert worse is False
    assert FEWEST < samples < 1000
    assert looks_until_clear(three_sided(0.4, 0.05), 0.02, BoundedMean(LEVEL))[0] is True
    assert looks_until_clear(three_sided(0.0, 0.3), 0.02, BoundedMean(LEVEL))[0] is False


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=60), st.floats(0.001, 0.4), st.floats(-50, 50))
def test_the_intervals_are_around_the_mean_and_move_with_the_values(values: list[float], level: float, shift: float) -> None:
    here, there = PairedMean(level), PairedMean(level)
    here.add(values)
    there.add(value + shift for value in values)
    low, high = here.interval()
    assert low <= here.mean <= high
    if math.isfinite(low):
        assert there.interval().low == pytest.approx(low + shift, abs=1e-6)
        stricter = PairedMean(level / 10)
        stricter.add(values)
        assert stricter.interval().low <= low


@given(st.lists(st.sampled_from([-1.0, 0.0, 1.0]), max_size=60))
def test_a_bounded_interval_only_ever_shrinks(values: list[float]) -> None:
    seen = BoundedMean(LEVEL)
    before = seen.interval()
    for value in values:
        seen.add([value])
        after = seen.interval()
        assert after.low >= before.low
        assert after.high <= before.high
        before = after
