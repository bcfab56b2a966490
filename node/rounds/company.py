"""Whether this node hears of anyone: one that lost its network says so, keeps its work, and goes on when the others are back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog

from ..units import seconds_text

if TYPE_CHECKING:
    from ..node import Node

log = structlog.get_logger()

_LOOK_SECONDS = 2.0


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


async def keep_company(node: Node) -> None:
    """Notice when nobody else is heard any more, for ever."""
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        if node.driver is not None and node.driver.machine is not None:
            others = {member.peer for member in node.history.head.roster} - {node.identity.peer_id}
            if node.is_over or node.history.in_force.paused:
                node.company.heard()  # nobody has anything to say
            node.company.look(len(others), node.driver.machine.setting.silence)
