"""Laws of a peer's standing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from collab.node import reputation
from collab.node.reputation import FULL, Reputation

PEERS = st.sampled_from(["a", "b", "c"])
REASONS = st.sampled_from(["bad_signature", "malformed", "stalled", "stale", "rate_limited", "something else"])
FAULTS = st.lists(st.tuples(PEERS, REASONS, st.floats(0, 600)), max_size=60)


@given(FAULTS)
def test_scores_stay_in_bounds_and_a_ban_is_announced_once(faults: list[tuple[str, str, float]]) -> None:
    standing, now = Reputation(), 0.0
    announced: list[str] = []
    for peer, reason, pause in faults:
        now += pause
        if standing.fault(peer, reason, now):
            announced.append(peer)
        assert -1.0 <= standing.score(peer, now) <= FULL
        assert (standing.score(peer, now) < 0) == (peer in announced)
    assert len(announced) == len(set(announced))


@given(FAULTS, st.floats(0, 10_000), st.floats(0, 10_000))
def test_time_mends_and_never_harms(faults: list[tuple[str, str, float]], first: float, more: float) -> None:
    standing, now = Reputation(), 0.0
    for peer, reason, pause in faults:
        now += pause
        standing.fault(peer, reason, now)
    for peer in ("a", "b", "c"):
        assert standing.score(peer, now + first) <= standing.score(peer, now + first + more)


def test_a_stranger_has_a_full_standing_and_a_fault_lowers_it() -> None:
    standing = Reputation()
    assert standing.score("a", 0) == FULL
    assert not standing.fault("a", "malformed", 0)
    assert standing.score("a", 0) == 75
    assert standing.score("a", 100) == 80
    assert standing.score("a", 10_000) == FULL


def test_what_an_honest_peer_cannot_help_costs_nothing() -> None:
    standing = Reputation()
    for _ in range(1000):
        assert not standing.fault("slow", "stale", 0)
    assert standing.score("slow", 0) == FULL


def test_a_ban_outlives_any_wait() -> None:
    standing = Reputation()
    assert [standing.fault("liar", "state_mismatch", now) for now in (0, 1, 2, 3)] == [False, False, True, False]
    assert standing.score("liar", 1e9) < 0
    assert not standing.fault("liar", "state_mismatch", 1e9)


def test_memory_is_bounded_and_the_worst_are_remembered(monkeypatch: object) -> None:
    standing = Reputation()
    for _ in range(3):
        standing.fault("liar", "bad_signature", 0.0)
    for number in range(reputation._MAX_PEERS + 50):
        standing.fault(f"passer-by {number}", "stalled", 1.0)
    assert len(standing._standings) == reputation._MAX_PEERS
    assert standing.score("liar", 2.0) < 0


def test_passing_on_a_flood_bans_nobody() -> None:
    """Whoever makes keys, or tells each neighbour something else, makes honest peers forward more than a receiver takes."""
    standing = Reputation()
    for quarter in range(4 * 3600):  # the sidecar reports four times a second
        assert not standing.fault("forwarder", "rate_limited", quarter / 4)
