"""Shares: they add up to one, none is above the cap, and claiming more never helps beyond it."""

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collab.protocol.shares import shares, stale_samples

SAMPLES = st.lists(st.integers(1, 1 << 40) | st.fractions(Fraction(1, 1000), 10**6), min_size=1, max_size=30)
CAPS = st.fractions(Fraction(1, 100), 1)


@given(SAMPLES, CAPS)
def test_shares_add_up_to_one_and_none_exceeds_the_cap(samples: list[int], cap: Fraction) -> None:
    result = shares(samples, cap)
    assert sum(result) == 1
    assert all(0 < share <= max(cap, Fraction(1, len(samples))) for share in result)


@given(SAMPLES, CAPS, st.randoms(use_true_random=False))
def test_the_order_does_not_matter(samples: list[int], cap: Fraction, random: object) -> None:
    order = list(range(len(samples)))
    random.shuffle(order)  # type: ignore[attr-defined]
    assert shares([samples[at] for at in order], cap) == [shares(samples, cap)[at] for at in order]


@given(SAMPLES, CAPS)
def test_more_samples_never_mean_a_smaller_share(samples: list[int], cap: Fraction) -> None:
    pairs = sorted(zip(samples, shares(samples, cap), strict=True))
    assert all(left[1] <= right[1] for left, right in pairwise(pairs))


@given(SAMPLES, CAPS)
def test_those_below_the_cap_keep_their_proportions(samples: list[int], cap: Fraction) -> None:
    limit = max(cap, Fraction(1, len(samples)))
    rates = {share / sample for sample, share in zip(samples, shares(samples, cap), strict=True) if share < limit}
    assert len(rates) <= 1


@given(SAMPLES, st.integers(1, 1 << 60))
def test_without_a_cap_shares_are_the_parts_of_all_samples(samples: list[int], factor: int) -> None:
    total = sum(map(Fraction, samples))
    assert shares(samples, Fraction(1)) == [sample / total for sample in map(Fraction, samples)]
    assert shares([sample * factor for sample in samples], Fraction(1)) == shares(samples, Fraction(1))


def test_a_cap_that_would_cap_everybody_makes_equal_shares() -> None:
    assert shares([1, 10, 100], Fraction(1, 10)) == [Fraction(1, 3)] * 3


def test_an_absurd_claim_gets_the_cap_and_no_more() -> None:
    assert shares([1 << 40, 1, 1], Fraction(1, 2)) == [Fraction(1, 2), Fraction(1, 4), Fraction(1, 4)]


def test_what_a_capped_one_gives_up_may_cap_the_next() -> None:
    assert shares([100, 50, 1, 1], Fraction(2, 5)) == [Fraction(2, 5), Fraction(2, 5), Fraction(1, 10), Fraction(1, 10)]


def test_of_nothing_there_are_no_shares_and_of_no_samples_none() -> None:
    assert shares([], Fraction(1)) == []
    for samples in ([0], [3, -1]):
        with pytest.raises(ValueError, match="at least one sample"):
            shares(samples, Fraction(1))


def test_stale_samples_count_less_but_never_nothing() -> None:
    assert [stale_samples(80, age, Fraction(1, 2)) for age in range(3)] == [80, 40, 20]
    assert 0 < stale_samples(80, 1, Fraction(0)) < Fraction(1, 1000)


@given(st.integers(1, 1 << 40), st.integers(0, 64), st.floats(0, 1).map(Fraction))
def test_stale_samples_are_short_fractions(samples: int, staleness: int, decay: Fraction) -> None:
    result = stale_samples(samples, staleness, decay)
    assert (1 << 20) % result.denominator == 0
    exact = samples * decay**staleness
    assert result <= max(exact, Fraction(1, 1 << 20))
    assert exact - result < Fraction(1, 1 << 20)
