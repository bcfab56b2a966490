"""What we think of our peers: faults lower a peer's standing, time mends it; below zero it is banned until we start again."""

from __future__ import annotations

from dataclasses import dataclass

FULL = 100.0
_MENDED_A_SECOND = 0.05
_DEFAULT_COST = 10.0
# Lies cost more than mistakes that an honest peer on an old commit or a bad line can make.
_COSTS = {
    "bad_signature": 50.0,
    "equivocation": 50.0,
    "state_mismatch": 50.0,
    "wrong_bytes": 40.0,
    "malformed": 25.0,
    "oversized": 25.0,
    "rate_limited": 0.0,  # who forwards cannot help what others write: a flood is dropped, and that is enough
    "stalled": 2.0,
    "lost": 2.0,
    "stale": 0.0,
    "unavailable": 2.0,
    "unknown_base": 0.0,
    "duplicate": 0.0,
    "spent": 0.0,
    "invite_expired": 1.0,
    "invite_revoked": 1.0,
    "invite_used_up": 1.0,
    "old_base": 0.0,
    "omitted": 2.0,
    "unamended": 2.0,
    "unknown_amendment": 0.0,
    "unknown_previous": 0.0,
    "unknown_version": 0.0,
    "unknown_gate": 1.0,
    "too_many_verdicts": 1.0,
    "not_a_coordinator": 2.0,
    "event_paused": 0.0,
    "gate": 5.0,
}
_MAX_PEERS = 4096


@dataclass
class _Standing:
    score: float
    at: float


class Reputation:
    """Scores by peer; `now` is in seconds of a monotonic clock."""

    def __init__(self) -> None:
        self._standings: dict[str, _Standing] = {}

    def score(self, peer: str, now: float) -> float:
        """Return a peer's standing, 0 to 100; strangers have a full one."""
        standing = self._standings.get(peer)
        if standing is None:
            return FULL
        if standing.score < 0.0:
            return standing.score  # a ban is for good
        return min(FULL, standing.score + (now - standing.at) * _MENDED_A_SECOND)

    def fault(self, peer: str, reason: str, now: float) -> bool:
        """Lower a peer's standing for a fault; True when that makes it one to ban."""
        before = self.score(peer, now)
        score = max(-1.0, before - _COSTS.get(reason, _DEFAULT_COST))
        if peer not in self._standings and len(self._standings) >= _MAX_PEERS:
            self._forget_the_best(now)
        self._standings[peer] = _Standing(score, now)
        return before >= 0.0 > score

    def _forget_the_best(self, now: float) -> None:
        del self._standings[max(self._standings, key=lambda peer: self.score(peer, now))]
