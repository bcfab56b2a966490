"""Whether this node hears of anyone: one that lost its network says so, keeps its work, and goes on when the others are back."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from ..units import seconds_text

log = structlog.get_logger()

LOOK_SECONDS = 2.0


class Company:
    """Hears that somebody spoke, and says whether we are alone; times are in seconds of a monotonic clock."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._heard_at = now()
        self.alone = False

    def heard(self) -> None:
        """Somebody else said something."""
        self._heard_at = self._now()

    def look(self, others: int, silence: float) -> None:
        """Compare: there are so many `others` on the roster, and one that is there speaks again within `silence` seconds."""
        alone = others > 0 and self._now() - self._heard_at > silence
        before, self.alone = self.alone, alone
        if alone and not before:
            log.warning(self.words)
        elif before and not alone:
            log.info("others are heard again")

    @property
    def words(self) -> str:
        """What to tell the owner; empty while others are heard."""
        if not self.alone:
            return ""
        since = seconds_text(self._now() - self._heard_at)
        return (
            f"alone: no other node was heard for {since}; check the network, or ask whether they stopped; "
            "the work is kept, and handed in when it is back"
        )
