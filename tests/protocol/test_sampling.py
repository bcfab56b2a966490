"""Draws are a pure function of their names, uniform, and the same however they are cut."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collab.protocol.sampling import sample_indices

EVENT = bytes(32)
VECTOR = [809672, 776599, 376330, 110016, 971646, 127541]


def test_a_vector_that_any_implementation_must_give() -> None:
    assert sample_indices(EVENT, 1, "peer", 0, 6, 1_000_000) == VECTOR
    assert sample_indices(EVENT, 1, "peer", 5, 1, 1_000_000) == VECTOR[5:]


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50), st.integers(1, 1 << 40))
def test_draws_do_not_depend_on_how_they_are_cut(start: int, first: int, second: int, population: int) -> None:
    whole = sample_indices(EVENT, 1, "peer", start, first + second, population)
    left = sample_indices(EVENT, 1, "peer", start, first, population)
    right = sample_indices(EVENT, 1, "peer", start + first, second, population)
    assert left + right == whole
    assert all(0 <= draw < population for draw in whole)


def test_event_round_and_peer_each_give_other_draws() -> None:
    names = [(EVENT, 1, "a"), (b"e" * 32, 1, "a"), (EVENT, 2, "a"), (EVENT, 1, "b")]
    assert len({tuple(sample_indices(*name, 0, 8, 1 << 40)) for name in names}) == 4


def test_draws_are_uniform() -> None:
    # Chi-squared with 99 degrees of freedom: 99.99% of truly uniform draws are below 161.
    counts = Counter(sample_indices(EVENT, 7, "peer", 0, 20_000, 100))
    statistic = sum((counts[value] - 200) ** 2 / 200 for value in range(100))
    assert 50 < statistic < 161


@pytest.mark.parametrize("population", [0, -1])
def test_an_empty_population_is_refused(population: int) -> None:
    with pytest.raises(ValueError, match="at least one sample"):
        sample_indices(EVENT, 1, "peer", 0, 1, population)
