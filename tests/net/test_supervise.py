"""The supervisor with a manual clock: restarts, back-off, stops; nothing sleeps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collab.node.processes.supervise import Backoff, Supervisor


class FakeChild:
    def __init__(self) -> None:
        self.died: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.stopped = False

    async def wait(self) -> int:
        return await self.died

    async def stop(self) -> None:
        self.stopped = True


class World:
    """A launcher that fails when told to, a clock that moves only in `sleep`, and a record of what happened."""

    def __init__(self) -> None:
        self.children: list[FakeChild] = []
        self.refusals = 0
        self.now = 0.0
        self.pauses: list[float] = []
        self.deaths: list[str] = []
        self.ready = 0
        self.changed = asyncio.Condition()

    async def launch(self) -> FakeChild:
        if self.refusals:
            self.refusals -= 1
            raise OSError("port in use")
        child = FakeChild()
        self.children.append(child)
        return child

    async def on_ready(self, child: FakeChild) -> None:
        async with self.changed:
            self.ready += 1
            self.changed.notify_all()

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with self.changed:
            await self.changed.wait_for(condition)

    def supervisor(self) -> Supervisor[FakeChild]:
        return Supervisor(
            "worker",
            self.launch,
            on_ready=self.on_ready,
            on_death=lambda name, reason: self.deaths.append(f"{name} {reason}"),
            backoff=Backoff(jitter=0.0),
            random=Random(1),
            sleep=self.sleep,
            clock=lambda: self.now,
        )


async def test_a_dead_child_comes_back_with_growing_pauses() -> None:
    world = World()
    supervisor = world.supervisor()
    await supervisor.start()
    task = asyncio.create_task(supervisor.run())
    for life in range(1, 4):
        world.children[-1].died.set_result(-9)
        await world.until(lambda life=life: world.ready == life + 1)  # type: ignore[misc]
    assert world.pauses == [0.2, 0.4, 0.8]
    assert supervisor.restarts == 3
    assert world.deaths == ["worker ended with -9"] * 3
    assert [child.stopped for child in world.children] == [True, True, True, False]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await supervisor.stop()
    assert world.children[-1].stopped
    assert not supervisor.alive


async def test_a_long_life_forgives_earlier_failures() -> None:
    world = World()
    supervisor = world.supervisor()
    await supervisor.start()
    task = asyncio.create_task(supervisor.run())
    world.children[-1].died.set_result(1)
    await world.until(lambda: world.ready == 2)
    world.now += 61.0
    world.children[-1].died.set_result(1)
    await world.until(lambda: world.ready == 3)
    assert world.pauses == [0.2, 0.2]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_start_that_fails_is_tried_again_later_but_not_the_first_one() -> None:
    world = World()
    supervisor = world.supervisor()
    world.refusals = 1
    with pytest.raises(OSError, match="port in use"):
        await supervisor.start()
    await supervisor.start()
    task = asyncio.create_task(supervisor.run())
    world.refusals = 2
    world.children[-1].died.set_result(1)
    await world.until(lambda: world.ready == 2)
    assert world.pauses == [0.2, 0.4, 0.8]
    assert world.deaths[1:] == ["worker did not start: port in use"] * 2
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@given(st.integers(1, 10**6), st.floats(0, 1, exclude_max=True))
def test_a_pause_is_bounded_and_positive(failures: int, draw: float) -> None:
    backoff = Backoff()
    assert backoff.first * 0.5 <= backoff.pause(failures, draw) <= backoff.longest
