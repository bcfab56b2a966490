"""The tasks of one component: all end when it stops, and the first that fails is reported."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine


class Tasks:
    """Background tasks between a component's `start` and `stop`.

    The composition root awaits `failed()` in its task group, so that a bug in a background task ends the daemon loudly.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: asyncio.Future[None] | None = None

    def spawn(self, work: Coroutine[None, None, None], name: str) -> None:
        """Run `work` until it ends or `close` is called."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            failure = self._future()
            if not failure.done():
                failure.set_exception(error)

    def _future(self) -> asyncio.Future[None]:
        if self._failure is None:
            self._failure = asyncio.get_running_loop().create_future()
        return self._failure

    async def failed(self) -> None:
        """Wait until a task fails, and raise what it raised."""
        await asyncio.shield(self._future())

    async def close(self) -> None:
        """Cancel all tasks and wait for them. Raises what a task raised before, if nobody heard of it."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._failure is not None and self._failure.done():
            self._failure.result()
