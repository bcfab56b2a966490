"""The sums over a history: a line a round, a line a contributor, refusals by reason. Commits go in oldest first."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

from .facts import RoundFacts

_RECENT = 60


@dataclass(frozen=True)
class RoundLine:
    """A round in the table and the charts; `seconds` since the commit before, `size` in bytes."""

    round: int
    commit: str
    time: int
    seconds: int
    loss: float | None
    samples: int
    total_samples: int
    size: int
    total_size: int
    contributors: int
    refused: int
    method: str
    full: bool
    proposer: str


@dataclass
class Credit:
    """What one peer gave, over the whole history."""

    accepted: int = 0
    refused: int = 0
    samples: int = 0
    size: int = 0
    first_round: int = 0
    last_round: int = 0


@dataclass
class Ledger:
    """The sums so far; `newest` is the last commit that went in."""

    lines: list[RoundLine] = field(default_factory=list)
    credits: dict[str, Credit] = field(default_factory=dict)
    reasons: Counter[str] = field(default_factory=Counter)
    recent: deque[tuple[int, str, str]] = field(default_factory=lambda: deque(maxlen=_RECENT))
    newest: RoundFacts | None = None

    def take(self, facts: RoundFacts) -> None:
        """Add the commit that follows the newest."""
        before = self.lines[-1] if self.lines else None
        self.lines.append(
            RoundLine(
                round=facts.round,
                commit=facts.commit.hex(),
                time=facts.time,
                seconds=max(0, facts.time - before.time) if before is not None else 0,
                loss=facts.loss,
                samples=facts.samples,
                total_samples=facts.total_samples,
                size=facts.size,
                total_size=facts.size + (before.total_size if before is not None else 0),
                contributors=len(facts.claims),
                refused=len(facts.refusals),
                method=facts.method,
                full=facts.full,
                proposer=facts.proposer,
            )
        )
        self._credit(facts)
        self.newest = facts

    def _credit(self, facts: RoundFacts) -> None:
        for claim in facts.claims:
            credit = self.credits.setdefault(claim.peer, Credit(first_round=facts.round))
            credit.accepted += 1
            credit.samples += claim.samples
            credit.size += claim.size
            credit.last_round = facts.round
        for refusal in facts.refusals:
            self.credits.setdefault(refusal.peer, Credit(first_round=facts.round)).refused += 1
            self.reasons[refusal.reason] += 1
            self.recent.append((facts.round, refusal.peer, refusal.reason))
