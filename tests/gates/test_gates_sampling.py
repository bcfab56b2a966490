"""The samples of a gate: different ones, all alike, and the same everywhere."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from collab.protocol.gates_sampling import draw


@given(st.binary(max_size=40), st.integers(0, 200), st.integers(0, 300))
def test_different_numbers_of_which_a_shorter_draw_has_the_first(seed: bytes, population: int, count: int) -> None:
    drawn = draw(seed, population, count)
    assert len(drawn) == len(set(drawn)) == min(count, population)
    assert set(drawn) <= set(range(population))
    assert draw(seed, population, count // 2) == drawn[: len(draw(seed, population, count // 2))]


def test_every_order_is_equally_likely() -> None:
    orders = Counter(tuple(draw(number.to_bytes(4, "big"), 3, 3)) for number in range(6000))
    assert len(orders) == 6
    assert all(abs(count - 1000) < 120 for count in orders.values())


def test_the_draw_is_this_one_on_every_machine() -> None:
    assert draw(b"seed", 1 << 40, 3) == [778619937728, 703924186142, 329472208778]
