"""The worker under supervision: whom it is handed to, and what becomes of a call when the worker dies."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest
from daemon.kit import until
from daemon.workkit import tiny_event

from collab.node.errors import UserError
from collab.node.processes.ipc import ChannelClosed, RemoteFailure
from collab.node.processes.worker_host import WorkerHost, open_request
from collab.node.settings import Settings
from collab.node.trainer import messages
from collab.node.trainer.client import Worker

OPENED = messages.Opened(
    layout=(), parameters=10, device="cpu", bf16=False, samples=1, held_out_samples=1, tokens_per_sample=16, restored=None
)
REQUEST = messages.Open(manifest=b"", peer_id="p", work_dir="/w", data_dir="/d", cache_dir="/c")


class FakeWorker:
    """A worker that dies when told to; `number` says which life it is."""

    def __init__(self, number: int, opens: list[Exception]) -> None:
        self.number = number
        self.stopped = False
        self.killed = False
        self._opens = opens
        self._dead = asyncio.Event()

    async def open(self, request: messages.Open) -> messages.Opened:
        await asyncio.sleep(0)
        if self._opens:
            raise self._opens.pop(0)
        return OPENED

    async def ping(self) -> int:
        await asyncio.sleep(0)
        if self._dead.is_set():
            raise ChannelClosed("the other process is gone")
        return self.number

    async def die_in_call(self) -> int:
        self.die()
        return await self.ping()

    def die(self) -> None:
        self._dead.set()

    def kill(self) -> None:
        self.killed = True
        self.die()

    async def wait(self) -> int:
        await self._dead.wait()
        return -9

    async def stop(self, grace: float = 10.0) -> int:
        self.stopped = True
        self.die()
        return 0


class World:
    """A host and all workers that it started."""

    def __init__(self) -> None:
        self.made: list[FakeWorker] = []
        self.opens: list[Exception] = []
        self.readied: list[int] = []
        self.deaths: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.host = WorkerHost(
            on_notice=lambda notice: None, on_ready=self._ready, on_death=lambda name, why: self.deaths.append(why)
        )
        self.host.supervisor._sleep = self._no_pause
        self.running: asyncio.Task[None] | None = None

    async def spawn(self, *_: Any) -> FakeWorker:
        self.made.append(FakeWorker(len(self.made) + 1, self.opens))
        return self.made[-1]

    async def start(self) -> None:
        await self.host.start(REQUEST)
        self.running = asyncio.create_task(self.host.run())

    async def close(self) -> None:
        if self.running is not None:
            self.running.cancel()
            await asyncio.wait([self.running])
        await self.host.stop()
        assert len(asyncio.all_tasks()) == 1

    async def use(self, call: Callable[[FakeWorker], Awaitable[int]]) -> int:
        return await self.host.use(cast(Callable[[Worker], Awaitable[int]], call))

    async def _no_pause(self, seconds: float) -> None:
        await asyncio.sleep(0)

    async def _ready(self, worker: Worker, opened: messages.Opened) -> None:
        await self.gate.wait()
        self.readied.append(cast(FakeWorker, worker).number)


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    monkeypatch.setattr(Worker, "start", made.spawn)
    return made


async def test_a_call_gets_the_worker_and_its_answer(world: World) -> None:
    await world.start()
    assert await world.use(FakeWorker.ping) == 1
    assert world.host.opened == OPENED
    await world.close()
    assert world.made[0].stopped


async def test_a_call_is_made_again_to_the_successor(world: World) -> None:
    await world.start()
    calls: list[int] = []

    async def dies_once(worker: FakeWorker) -> int:
        calls.append(worker.number)
        return await (worker.die_in_call() if len(calls) == 1 else worker.ping())

    assert await world.use(dies_once) == 2
    assert calls == [1, 2]
    assert world.readied == [1, 2]
    assert world.deaths == ["ended with -9"]
    await world.close()


async def test_a_call_that_kills_every_worker_is_given_up(world: World) -> None:
    await world.start()
    with pytest.raises(ChannelClosed):
        await world.use(FakeWorker.die_in_call)
    assert await world.use(FakeWorker.ping) == 4
    await world.close()


async def test_a_failure_of_the_call_is_not_repeated(world: World) -> None:
    await world.start()
    calls: list[int] = []

    async def refuse(worker: FakeWorker) -> int:
        calls.append(worker.number)
        raise RemoteFailure("bad_payload", "no")

    with pytest.raises(RemoteFailure):
        await world.use(refuse)
    assert calls == [1]
    await world.close()


async def test_nobody_gets_a_worker_before_it_is_recovered(world: World) -> None:
    await world.start()
    world.gate.clear()
    world.made[0].die()
    waiting = asyncio.create_task(world.use(FakeWorker.ping))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not waiting.done()
    world.gate.set()
    assert await waiting == 2
    await world.close()


async def test_who_hears_late_of_a_death_does_not_lock_the_successor_away(world: World) -> None:
    await world.start()
    heard = asyncio.Event()
    calls: list[int] = []

    async def late(worker: FakeWorker) -> int:
        calls.append(worker.number)
        if worker.number == 1:
            await heard.wait()
            raise ChannelClosed("the other process is gone")
        return await worker.ping()

    waiting = asyncio.create_task(world.use(late))
    await asyncio.sleep(0)
    world.made[0].die()
    assert await world.use(FakeWorker.ping) in (1, 2)
    await until(lambda: len(world.made) == 2 and world.host.supervisor.alive)
    heard.set()
    async with asyncio.timeout(5):
        assert await waiting == 2
    await world.close()


async def test_a_start_that_fails_after_a_death_is_tried_again(world: World) -> None:
    await world.start()
    world.opens += [RemoteFailure("out_of_memory", "no"), ChannelClosed("died at once")]
    world.made[0].die()
    await until(lambda: len(world.made) == 4)
    assert await world.use(FakeWorker.ping) == 4
    assert world.deaths == ["ended with -9", "did not start: no", "did not start: died at once"]
    assert all(worker.stopped for worker in world.made[:3])
    await world.close()


@pytest.mark.parametrize("code", ["no_data", "bad_device", "out_of_memory", "bad_checkpoint"])
async def test_what_a_person_can_mend_is_one_line(world: World, code: str) -> None:
    world.opens.append(RemoteFailure(code, "one clear line"))
    with pytest.raises(UserError, match="one clear line"):
        await world.host.start(REQUEST)
    assert world.made[0].stopped
    await world.close()


async def test_what_nobody_can_mend_comes_through(world: World) -> None:
    world.opens.append(RemoteFailure("bad_request", "a bug"))
    with pytest.raises(RemoteFailure, match="a bug"):
        await world.host.start(REQUEST)
    await world.close()


async def test_a_worker_that_ends_while_it_starts_is_a_users_error(world: World) -> None:
    world.opens.append(ChannelClosed("gone"))
    with pytest.raises(UserError, match="ended while it started"):
        await world.host.start(REQUEST)
    await world.close()


async def test_a_warm_worker_is_taken_first_and_once(world: World) -> None:
    await world.host.warm_up()
    await world.start()
    assert len(world.made) == 1
    world.made[0].die()
    await until(lambda: len(world.made) == 2)
    assert await world.use(FakeWorker.ping) == 2
    await world.close()
    assert not world.made[0].killed


async def test_a_warm_worker_that_is_not_used_is_killed(world: World) -> None:
    await world.host.warm_up()
    await world.close()
    assert world.made[0].killed
    assert world.made[0].stopped


async def test_stop_lets_nobody_wait_for_ever(world: World) -> None:
    await world.start()
    world.gate.clear()
    world.made[0].die()
    waiting = asyncio.create_task(world.use(FakeWorker.ping))
    await until(lambda: len(world.made) == 2)
    assert world.running is not None
    world.running.cancel()
    await asyncio.wait([world.running])
    await world.host.stop()
    with pytest.raises(ChannelClosed, match="stopped"):
        await waiting
    with pytest.raises(ChannelClosed, match="stopped"):
        await world.use(FakeWorker.ping)


def test_how_a_worker_is_opened(tmp_path: Path) -> None:
    settings = Settings(cache_dir=tmp_path / "cache", threads=2, device="cpu")
    request = open_request(tiny_event(), "peer", tmp_path / "event" / "worker", settings, data=False)
    assert Path(request.work_dir).is_dir()
    assert Path(request.cache_dir).is_dir()
    assert request.manifest == tiny_event().encode()
    assert (request.threads, request.device, request.data) == (2, "cpu", False)
    assert Path(request.data_dir).is_absolute()


async def test_a_worker_at_rest_is_gone_and_calls_wait_for_the_next(world: World) -> None:
    await world.start()
    await world.host.rest()
    await world.host.rest()
    assert (world.made[0].stopped, world.host.supervisor.alive, len(world.made)) == (True, False, 1)
    waiting = asyncio.create_task(world.use(FakeWorker.ping))
    for _ in range(50):
        await asyncio.sleep(0)
    assert (waiting.done(), len(world.made), world.deaths) == (False, 1, [])
    world.host.reopen_with(threads=3)
    world.host.wake()
    assert await waiting == 2
    assert world.host._request is not None
    assert world.host._request.threads == 3
    await world.close()


async def test_a_rest_that_comes_before_the_start_is_enforced_after_it(world: World) -> None:
    await world.host.rest()
    await world.start()
    await world.host.rest()
    assert world.made[0].stopped
    world.host.wake()
    assert await world.use(FakeWorker.ping) == 2
    await world.close()


async def test_no_worker_is_started_while_the_one_before_still_saves(world: World) -> None:
    await world.start()
    saved = asyncio.Event()

    async def stop(grace: float = 10.0) -> int:
        await saved.wait()
        world.made[0].die()
        return 0

    world.made[0].stop = stop  # type: ignore[method-assign]
    resting = asyncio.create_task(world.host.rest())
    await asyncio.sleep(0)
    world.host.wake()
    waiting = asyncio.create_task(world.use(FakeWorker.ping))
    for _ in range(20):
        await asyncio.sleep(0)
    assert (len(world.made), waiting.done(), resting.done()) == (1, False, False)
    saved.set()
    assert await waiting == 2
    await resting
    await world.close()


@pytest.mark.parametrize("dies", ["before", "while"])
async def test_a_worker_that_is_killed_at_the_beginning_of_a_rest_has_a_successor_after_it(world: World, dies: str) -> None:
    await world.start()
    if dies == "before":
        world.made[0].die()
        await asyncio.sleep(0)
    resting = asyncio.create_task(world.host.rest())
    await asyncio.sleep(0)
    world.made[0].die()
    await resting
    await asyncio.sleep(0)
    assert not world.host.supervisor.alive
    world.host.wake()
    async with asyncio.timeout(5):
        assert await world.use(FakeWorker.ping) == 2
    await world.close()


async def test_what_a_request_is_to_say_may_be_changed_before_there_is_one(world: World) -> None:
    world.host.reopen_with(threads=2)
    await world.start()
    assert await world.use(FakeWorker.ping) == 1
    await world.close()
