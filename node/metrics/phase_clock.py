"""How long a node was in each phase of its rounds, one phase after the other without a gap."""

from __future__ import annotations

from collections.abc import Callable


class PhaseClock:
    """Told of every phase when it begins, it reports every phase when it has ended."""

    def __init__(self, observe: Callable[[str, float], None]) -> None:
        """`observe` hears a phase and the seconds that it took."""
        self._observe = observe
        self._phase: str | None = None
        self._since = 0.0

    def enter(self, phase: str, now: float) -> None:
        """Note that `phase` began at `now` (seconds of a monotonic clock); to be in it already changes nothing."""
        if phase == self._phase:
            return
        if self._phase is not None:
            self._observe(self._phase, now - self._since)
        self._phase, self._since = phase, now
