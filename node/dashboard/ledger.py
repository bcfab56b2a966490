"""The sums over a history: a line a round, credit, refusals by reason. Commits go in oldest first."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from ...protocol.commit import Commit
from ...protocol.credits import Credit, CreditBook
from ...protocol.event import EventManifest
from ...protocol.gates import gate_of
from .facts import RoundFacts, facts_of

_RECENT = 60


@dataclass(frozen=True)
class RoundLine:
    """A round in the table and the charts; `seconds` since the commit before, `size` in bytes.

    `state` is the hash of its weights, `kept_out` how many contributions each gate kept out.
    """

    round: int
    commit: str
    state: bytes
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
    kept_out: Mapping[str, int]


@dataclass
class Ledger:
    """The sums so far of a history of `event`; `newest` is the last commit that went in."""

    event: EventManifest
    lines: list[RoundLine] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    recent: deque[tuple[int, str, str]] = field(default_factory=lambda: deque(maxlen=_RECENT))
    newest: RoundFacts | None = None
    _ranking: tuple[Credit, ...] = ()

    def __post_init__(self) -> None:
        self._book = CreditBook(self.event)

    def take(self, commit: Commit) -> None:
        """Add the commit that follows the newest."""
        facts = facts_of(commit)
        self.lines.append(self._line(facts))
        self._book.add(commit)
        self._ranking = ()
        for refusal in facts.refusals:
            self.reasons[refusal.reason] += 1
            self.recent.append((facts.round, refusal.peer, refusal.reason))
        self.newest = facts

    @property
    def ranking(self) -> tuple[Credit, ...]:
        """Everybody's credit, the greatest first, as `collab-node credits` has it."""
        self._ranking = self._ranking or self._book.ranking()
        return self._ranking

    def _line(self, facts: RoundFacts) -> RoundLine:
        before = self.lines[-1] if self.lines else None
        return RoundLine(
            round=facts.round,
            commit=facts.commit.hex(),
            state=facts.state,
            time=facts.time,
            seconds=max(0, facts.time - before.time) if before is not None else 0,
            loss=facts.loss,
            samples=facts.samples,
            total_samples=facts.total_samples,
            size=facts.size,
            total_size=facts.size + (before.total_size if before is not None else 0),
            contributors=facts.contributors,
            refused=len(facts.refusals),
            method=facts.method,
            full=facts.full,
            proposer=facts.proposer,
            kept_out=Counter(gate for refusal in facts.refusals if (gate := gate_of(refusal.reason)) is not None),
        )
