"""When to rest and when to go on: at once, and after a while of calm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from .limits import Limits
from .policies import Seen, objection


@dataclass(frozen=True)
class Run:
    """Nothing is against it."""


@dataclass(frozen=True)
class Pause:
    """Rest; `reason` is a line for people."""

    reason: str


Decision: TypeAlias = Run | Pause


class Manners:
    """A reason holds at once, and until all has been well for `calm_seconds`: who pauses between two runs is not disturbed."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._last: tuple[str, float, Seen] | None = None

    def allow(self, limits: Limits) -> None:
        """Go by other limits from now on; what they do not object to need not have been calm for a while."""
        self.limits = limits
        if self._last is not None and objection(limits, self._last[2]) is None:
            self._last = None

    def decide(self, seen: Seen, now: float) -> Decision:
        """Say what to do; `now` is in seconds of a monotonic clock."""
        reason = objection(self.limits, seen)
        if reason is not None:
            self._last = reason, now, seen
            return Pause(reason)
        if self._last is not None and now - self._last[1] < self.limits.calm_seconds:
            return Pause(f"{self._last[0]} a moment ago")
        self._last = None
        return Run()
