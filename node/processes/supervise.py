"""Keeps one child running: starts it, and when it dies starts it again with exponential back-off and jitter."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random
from typing import Generic, Protocol, TypeVar


class Running(Protocol):
    """Something that runs until it dies or is stopped."""

    async def wait(self) -> object:
        """Return when it has died, for whatever reason."""

    async def stop(self) -> object:
        """End it in order; harmless if it is dead."""


R = TypeVar("R", bound=Running)


@dataclass(frozen=True)
class Backoff:
    """Seconds to wait before a restart: `first`, then `factor` times longer each, up to `longest`.

    After a life of `stable` seconds the count starts anew. Up to `jitter` of the pause is taken off at random, so that a
    thousand nodes that lost the same peer do not return in step.
    """

    first: float = 0.2
    factor: float = 2.0
    longest: float = 30.0
    stable: float = 60.0
    jitter: float = 0.5

    def pause(self, failures: int, draw: float) -> float:
        """Return the pause in seconds after `failures` (≥ 1) in a row; `draw` is uniform in [0, 1)."""
        # The exponent is bounded because a float overflows at about 2 ** 1024.
        full = min(self.longest, self.first * self.factor ** min(failures - 1, 64))
        return full * (1.0 - self.jitter * draw)


class Supervisor(Generic[R]):
    """Supervises what `launch` starts; `launch` returns when the child is ready for work, or raises."""

    def __init__(
        self,
        name: str,
        launch: Callable[[], Awaitable[R]],
        *,
        on_ready: Callable[[R], Awaitable[None]] | None = None,
        on_death: Callable[[str, str], None] = lambda name, reason: None,
        backoff: Backoff | None = None,
        random: Random | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] | None = None,
    ) -> None:
        """`on_ready` is awaited after every start, the first too; `on_death(name, reason)` hears of every failure."""
        self.name = name
        self.restarts = 0
        self.current: R | None = None
        self._launch = launch
        self._on_ready = on_ready
        self._on_death = on_death
        self._backoff = backoff or Backoff()
        self._random = random or Random()
        self._sleep = sleep
        self._clock = clock

    @property
    def alive(self) -> bool:
        """Whether the child runs and was ready."""
        return self.current is not None

    async def start(self) -> R:
        """Start the child for the first time. What `launch` raises comes through: a person's mistake is not retried."""
        return await self._begin()

    async def run(self) -> None:
        """Watch the child, which `start` has started, for ever. Cancel this, then call `stop`, to end it."""
        failures = 0
        began = self._now()
        while True:
            if self.current is not None:
                status = await self.current.wait()
                await self._end(f"ended with {status}")
                failures = 0 if self._now() - began >= self._backoff.stable else failures
            failures += 1
            await self._sleep(self._backoff.pause(failures, self._random.random()))
            began = self._now()
            self.restarts += 1
            try:
                await self._begin()
            except Exception as error:  # whatever a start can raise, the answer is another try
                self._on_death(self.name, f"did not start: {error}")

    async def stop(self) -> None:
        """End the child, if it runs."""
        if self.current is not None:
            child, self.current = self.current, None
            await child.stop()

    async def _begin(self) -> R:
        child = await self._launch()
        try:
            if self._on_ready is not None:
                await self._on_ready(child)
        except BaseException:
            self.current = None  # `on_ready` may have set it early
            await child.stop()
            raise
        self.current = child
        return child

    async def _end(self, reason: str) -> None:
        child, self.current = self.current, None
        self._on_death(self.name, reason)
        if child is not None:
            await child.stop()  # frees what the dead child leaves behind in this process

    def _now(self) -> float:
        return self._clock() if self._clock is not None else asyncio.get_running_loop().time()
