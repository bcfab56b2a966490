from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from collab.node.trainer.schedule import learning_rate, swarm_samples
from collab.protocol.event import InnerOptimiser

INNER = InnerOptimiser(rate=2e-3, final_rate_share=0.1, warmup_samples=100, total_samples=1000)


@given(st.integers(0, 1 << 50))
def test_the_rate_is_positive_and_at_most_the_peak(samples: int) -> None:
    assert 0 < learning_rate(INNER, samples) <= INNER.rate


@given(st.integers(0, 99), st.integers(0, 99))
def test_it_rises_in_the_warm_up(one: int, other: int) -> None:
    low, high = sorted((one, other))
    assert learning_rate(INNER, low) <= learning_rate(INNER, high)


@given(st.integers(100, 2000), st.integers(100, 2000))
def test_it_falls_after(one: int, other: int) -> None:
    low, high = sorted((one, other))
    assert learning_rate(INNER, low) >= learning_rate(INNER, high)


def test_its_corners() -> None:
    assert learning_rate(INNER, 100) == INNER.rate
    assert learning_rate(INNER, 1000) == learning_rate(INNER, 10**9) == INNER.rate * 0.1
    no_warm_up = InnerOptimiser(rate=1e-3, warmup_samples=0, total_samples=1)
    assert learning_rate(no_warm_up, 0) == 1e-3


@given(st.integers(0, 10**9), st.integers(0, 10**6), st.integers(0, 1000))
def test_the_swarm_is_as_far_as_we_are(base: int, own: int, peers: int) -> None:
    assert swarm_samples(base, own, peers) == base + own * max(peers, 1)
