"""The voting core's words: what it is told in, and what it asks for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Literal, NamedTuple, TypeAlias

Stage: TypeAlias = Literal["prevote", "precommit"]


class Turn(NamedTuple):
    """A view of an epoch; later turns compare greater."""

    epoch: int
    view: int


class Step(IntEnum):
    """What a member waits for in its turn; `VIEW` is only a timer's name: the turn as a whole."""

    PROPOSE = 0
    PREVOTE = 1
    PRECOMMIT = 2
    VIEW = 3


class Verdict(Enum):
    """What replaying a commit showed: right, right but leaving contributions out, or wrong."""

    SOUND = "sound"
    UNFAIR = "unfair"
    UNSOUND = "unsound"


@dataclass(frozen=True)
class Lock:
    """More than 2/3 prevoted `commit` in `turn`."""

    commit: bytes
    turn: Turn


@dataclass(frozen=True)
class Propose:
    """We propose in this turn: `commit` again, with the turn that proves it, or a new one where `commit` is None."""

    turn: Turn
    commit: bytes | None
    proof: Turn | None


@dataclass(frozen=True)
class Vote:
    """We attest, in a stage, a commit or (None) nothing."""

    turn: Turn
    stage: Stage
    commit: bytes | None


@dataclass(frozen=True)
class Schedule:
    """Call `timed_out(turn, step)` after the time that the step may take."""

    turn: Turn
    step: Step


@dataclass(frozen=True)
class Decide:
    """More than 2/3 precommitted this commit in this turn: it is final."""

    commit: bytes
    turn: Turn


@dataclass(frozen=True)
class Exhaust:
    """The last view of this epoch passed: ask for a new committee."""

    epoch: int


Action: TypeAlias = Propose | Vote | Schedule | Decide | Exhaust
