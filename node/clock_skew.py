"""How far our clock is from our peers': records expire and rounds are dated by it, and a wrong one is hard to find otherwise.

We ask a few peers for the time, and take the answer to be from the middle of the call, as NTP does (RFC 5905): it is wrong by
half a round trip at most. The median of the answers counts, so a minority of wrong or lying peers says nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from statistics import median

from ..protocol.errors import RemoteProtocolError
from ..protocol.record import Count, Record
from .net.errors import NetworkError
from .net.rpc import Rpc

CLOCK = "clock"
_ASKED = 5
_SECONDS, _RETRY_SECONDS = 60.0, 5.0
_CALL_SECONDS = 5.0
_REPLY_BYTES = 64


class ClockReply(Record):
    """The time at the peer, in milliseconds since 1970."""

    milliseconds: Count


class ClockSkew:
    """Answers peers that ask for the time, and asks them."""

    def __init__(
        self,
        rpc: Rpc,
        peers: Callable[[], Sequence[str]],
        report: Callable[[float], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`peers` returns whom to ask, the first ones first; `report` hears by how many seconds we are ahead."""
        self._rpc = rpc
        self._peers = peers
        self._report = report
        self._clock = clock
        rpc.register(CLOCK, self._answer)

    async def run(self) -> None:
        """Measure once a minute, for ever; sooner while nobody has answered."""
        while True:
            found = await self.measure()
            if found is not None:
                self._report(found)
            await asyncio.sleep(_RETRY_SECONDS if found is None else _SECONDS)

    async def measure(self) -> float | None:
        """Return by how many seconds our clock is ahead of the peers' (negative: behind), None if nobody answers."""
        answers = await asyncio.gather(*(self._ahead_of(peer) for peer in self._peers()[:_ASKED]))
        known = [answer for answer in answers if answer is not None]
        return median(known) if known else None

    async def _ahead_of(self, peer: str) -> float | None:
        before = self._clock()
        try:
            body = await self._rpc.call(peer, CLOCK, b"", timeout=_CALL_SECONDS, limit=_REPLY_BYTES)
            theirs = ClockReply.decode(body).milliseconds / 1000
        except (NetworkError, RemoteProtocolError):
            return None
        return (before + self._clock()) / 2 - theirs

    async def _answer(self, peer: str, body: bytes) -> bytes:
        return ClockReply(milliseconds=int(self._clock() * 1000)).encode()
