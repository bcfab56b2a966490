"""What trainers say, summed up: a liar moves an end, never the middle."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from collab.node.metrics.swarm_stats import Spread, SwarmStats
from collab.protocol.messages import Progress


def said(samples: int = 8, rate: float = 2.0, loss: float = 3.0, steps: int = 1) -> Progress:
    return Progress(
        event=bytes(32), base=bytes(32), round=1, samples=samples, steps=steps, loss=loss, rate=rate, trains=True, done=False,
        sequence=1,
    )  # fmt: skip


def test_nobody_says_nothing() -> None:
    assert SwarmStats.of([]) == SwarmStats(trainers=0, samples=0, rate=0.0, rates=None, losses=None)


def test_sums_and_spreads() -> None:
    found = SwarmStats.of([said(8, 1.0, 3.0), said(16, 4.0, 2.0), said(4, 2.0, 5.0)])
    assert found == SwarmStats(trainers=3, samples=28, rate=7.0, rates=Spread(1.0, 2.0, 4.0), losses=Spread(2.0, 3.0, 5.0))


def test_who_has_taken_no_step_yet_has_neither_speed_nor_loss() -> None:
    found = SwarmStats.of([said(0, 0.0, 0.0, steps=0), said(8, 2.0, 3.0)])
    assert (found.trainers, found.rates, found.losses) == (2, Spread(2.0, 2.0, 2.0), Spread(3.0, 3.0, 3.0))


@given(st.lists(st.floats(1, 5), min_size=3, max_size=9), st.floats(allow_nan=False, allow_infinity=False))
def test_one_liar_does_not_move_the_median_out_of_what_the_others_say(honest: list[float], lie: float) -> None:
    found = SwarmStats.of([*(said(loss=loss) for loss in honest), said(loss=lie)])
    assert found.losses is not None
    assert min(honest) <= found.losses.middle <= max(honest)
