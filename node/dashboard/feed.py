"""One reader, many watchers: the newest state, the last few deltas, and a stream of server-sent events for each page.

A watcher holds nothing but a number, the version it has seen. Who is too slow for the deltas that are kept gets the whole state
again; so nobody can make the server remember more than one state and `_KEPT` deltas.

Event streams: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

from .state import State, difference, to_json

_KEPT = 64
_BEAT_SECONDS = 15.0
_IDLE_PERIODS = 5


class Feed:
    """Reads every `period` seconds while somebody watches, every fifth time else."""

    def __init__(self, read: Callable[[], Awaitable[State]], period: float) -> None:
        self.state = State()
        self.watchers = 0
        self._read = read
        self._period = period
        self._version = 0
        # After a restart of the server the same number means another state.
        self._run = secrets.token_hex(4)
        self._deltas: deque[bytes] = deque(maxlen=_KEPT)
        self._whole: tuple[int, bytes] = (-1, b"")
        self._news = asyncio.Event()
        self._wanted = asyncio.Event()
        self._closed = False

    async def run(self) -> None:
        """Keep the state up to date, until cancelled."""
        try:
            while True:
                await self.refresh()
                await self._pause()
        finally:
            self.close()

    def close(self) -> None:
        """End all streams in order."""
        self._closed = True
        self._news.set()

    async def _pause(self) -> None:
        if self.state.values.get("reading", {}).get("left"):
            return  # a long history is read piece by piece, so that the page shows what is there
        self._wanted.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._period if self.watchers else self._period * _IDLE_PERIODS):
                await self._wanted.wait()

    async def refresh(self) -> None:
        """Read once, and tell the watchers what changed."""
        state = await self._read()
        delta = difference(self.state, state)
        if delta:
            self.state = state
            self._version += 1
            self._deltas.append(self._event("delta", self._version, delta))
            self._tell()

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def watch(self, seen: str = "") -> AsyncIterator[bytes]:
        """Yield events for one page, which has `seen` the event with this id already (none: nothing)."""
        self.watchers += 1
        if self.watchers == 1:
            self._wanted.set()
        try:
            version = self._known(seen)
            while not self._closed:
                news, events, version = self._news, self._since(version), self._version
                for event in events:
                    yield event
                try:
                    async with asyncio.timeout(_BEAT_SECONDS):
                        await news.wait()
                except TimeoutError:
                    yield b"event: beat\ndata:\n\n"
        finally:
            self.watchers -= 1

    def whole(self) -> bytes:
        """Return the event that carries the whole state; made once a version, however many ask."""
        if self._whole[0] != self._version:
            self._whole = self._version, self._event("state", self._version, self.state.whole())
        return self._whole[1]

    def _since(self, version: int) -> list[bytes]:
        behind = self._version - version
        if version < 0 or behind > len(self._deltas):
            return [self.whole()]
        return list(self._deltas)[len(self._deltas) - behind :]

    @property
    def seen(self) -> str:
        """What a page has seen that holds the newest state."""
        return f"{self._run}-{self._version}"

    def _known(self, seen: str) -> int:
        run, _, number = seen.partition("-")
        known = int(number) if run == self._run and number.isascii() and number.isdecimal() and len(number) < 16 else -1
        return known if known <= self._version else -1

    def _event(self, kind: str, version: int, data: object) -> bytes:
        return f"id: {self._run}-{version}\nevent: {kind}\ndata: {to_json(data)}\n\n".encode()
