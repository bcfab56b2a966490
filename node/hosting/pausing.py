"""Resting: the worker saves what it has and goes, with all its memory, while the network stays.

Who rests has said goodbye, so that the swarm neither waits for it nor draws it into a committee; the first thing it says after
that takes it in again. Several may ask for a rest (the owner, the event's coordinators, the node's manners), each with a reason;
it ends when none asks any more. What the owner asked for outlives the process, as a file in the home.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal, Protocol

from ..files import atomic_write

Who = Literal["owner", "coordinators", "manners"]

OWNER_REASON = "you asked for it"
_MAX_NOTE = 200


class Sleeper(Protocol):
    """What is put to rest: the worker's host."""

    async def rest(self) -> None:
        """Give the memory back; harmless if it is at rest."""

    def wake(self) -> None:
        """Start again; harmless if it runs."""


class Pausing:
    """Why a node rests, if it does."""

    def __init__(self, note: Path, sleeper: Callable[[], Sleeper], on_rest: Callable[[], Awaitable[None]]) -> None:
        """`note` is the file of the owner's wish; `on_rest` is awaited before the worker goes, when the first one asks."""
        self._note = note
        self._sleeper = sleeper
        self._on_rest = on_rest
        self._reasons: dict[Who, str] = {}
        self._ended = asyncio.Event()
        if note.is_file():
            self._reasons["owner"] = note.read_text(errors="replace")[:_MAX_NOTE].strip() or OWNER_REASON

    @property
    def reason(self) -> str:
        """Why the node rests; empty while it does not. The owner's reason goes before all others."""
        return next((self._reasons[who] for who in ("owner", "coordinators", "manners") if who in self._reasons), "")

    @property
    def reasons(self) -> Mapping[Who, str]:
        """All reasons, by who has them."""
        return MappingProxyType(self._reasons)

    async def pause(self, who: Who, reason: str) -> None:
        """Rest, for this reason too. Returns when the memory has been given back. Raises UserError if that cannot be noted."""
        if who == "owner":
            atomic_write(self._note, reason.encode())
        awake = not self._reasons
        self._reasons[who] = reason
        if not awake:
            await self.enforce()
            return
        await self._on_rest()
        # Also when the reason was taken back meanwhile: what was cut short with the worker leaves it where nobody knows.
        await self._sleeper().rest()
        if not self._reasons:
            self._sleeper().wake()

    async def enforce(self) -> None:
        """Give the memory back if there is a reason to: what was started meanwhile goes too."""
        if self._reasons:
            await self._sleeper().rest()

    def resume(self, who: Who) -> str:
        """Take `who`'s reason back; return the one that still stands, empty when the node goes on."""
        if who == "owner":
            self._note.unlink(missing_ok=True)
        if self._reasons.pop(who, None) is not None and not self._reasons:
            self._sleeper().wake()
            self._ended.set()
            self._ended = asyncio.Event()
        return self.reason

    async def ended(self, seconds: float) -> bool:
        """Wait until the node goes on, at most so long; say whether it does."""
        if not self._reasons:
            return True
        try:
            async with asyncio.timeout(seconds):
                await self._ended.wait()
        except TimeoutError:
            return False
        return True
