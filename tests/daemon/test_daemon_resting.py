"""A node that is paused and goes on: whatever it was in the middle of, it follows the history again and leaves no task."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from daemon.kit import until
from daemon.nodekit import CHAIN, Desk, turns

from collab.node.rounds import loop as round_loop
from collab.node.rounds.driver import Interrupted, Overtaken
from collab.protocol.commit import Commit


class Sleeper:
    """A worker's host: what is asked of it while it sleeps waits for the end of the rest."""

    def __init__(self) -> None:
        self.rests = 0
        self.awake = asyncio.Event()
        self.awake.set()

    async def rest(self) -> None:
        self.rests += 1
        self.awake.clear()

    def wake(self) -> None:
        self.awake.set()


class Loop:
    """The node's loop, run over rounds that end when they are overtaken or interrupted."""

    def __init__(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        self.desk, self.node = desk, desk.node
        self.host = Sleeper()
        self.ran: list[int] = []
        self.brought: list[int] = []
        self.fetched, self.said_goodbye = asyncio.Event(), asyncio.Event()
        self.fetched.set()
        self.said_goodbye.set()
        self.last_moment: Callable[[], object] = lambda: None
        self._ended = asyncio.Event()
        self._runs = self._interrupted = False
        desk.make_ready()
        node: Any = desk.node
        node.host = self.host
        node.weights = SimpleNamespace(bring_to=self._bring_to, base=None)
        node.contributor = SimpleNamespace(settle=self._settle, unsettled_since=lambda: None, outstanding=list)
        node.driver = SimpleNamespace(run=self._run, interrupt=self._interrupt, goodbye=self.said_goodbye.wait, machine=None)
        monkeypatch.setattr(node, "ask_around", self._ask_around)
        monkeypatch.setattr(round_loop, "_FOLLOW_SECONDS", 0.0)
        self.heard: list[Any] = []
        self.loop = asyncio.create_task(node.loop.run())

    async def _bring_to(self, commit: Commit) -> None:
        await self.fetched.wait()
        await self.host.awake.wait()
        self.brought.append(commit.round)
        self.last_moment()

    async def _settle(self, commit: Commit) -> int:
        await self.host.awake.wait()
        return await self.desk._settle(commit)

    async def _run(self, base: Commit, *, train: bool) -> Interrupted | Overtaken:
        self.ran.append(base.round)
        self._runs = True
        await self._ended.wait()
        self._ended.clear()
        self._runs = False
        interrupted, self._interrupted = self._interrupted, False
        return Interrupted() if interrupted else Overtaken()

    def _interrupt(self) -> None:
        if self._runs:
            self._interrupted = True
            self._ended.set()

    async def _ask_around(self) -> None:
        if self.heard:
            self.desk.take(self.heard.pop(0))
        await asyncio.sleep(0)

    def overtake(self, *steps: Any) -> None:
        """Let the round end because others made commits."""
        self.desk.take(*steps)
        self._ended.set()

    async def pause(self) -> None:
        await self.node.pausing.pause("owner", "a film")

    async def stop(self) -> None:
        self.loop.cancel()
        await asyncio.wait({self.loop})
        assert self.loop.cancelled()
        assert len(asyncio.all_tasks()) == 1


@pytest.fixture
def loop(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Loop]:
    return lambda: Loop(desk, monkeypatch)


async def test_paused_while_it_fetches_it_hears_of_two_commits_and_goes_on_from_the_last(loop: Callable[[], Loop]) -> None:
    world = loop()
    await turns()
    world.fetched.clear()
    world.overtake(CHAIN[0])
    await turns()
    assert (world.ran, world.brought[-1]) == ([0], 0)
    await world.pause()
    await turns()
    assert (world.node.phase, world.host.awake.is_set()) == ("paused", False)
    world.heard += CHAIN[1:3]
    await until(lambda: world.node.history.head.round == 3)
    world.fetched.set()
    await turns()
    assert world.ran == [0]
    world.node.pausing.resume("owner")
    await turns()
    assert (world.brought[-1], world.ran) == (3, [0, 3])
    world.overtake(CHAIN[3])
    await turns()
    assert world.desk.settled == [1, 2, 3, 4]
    await world.stop()


async def test_resumed_before_the_goodbye_is_said_its_worker_begins_anew_all_the_same(loop: Callable[[], Loop]) -> None:
    world = loop()
    await turns()
    world.fetched.clear()
    world.overtake(CHAIN[0])
    await turns()
    world.said_goodbye.clear()
    pausing = asyncio.create_task(world.pause())
    await asyncio.sleep(0)
    world.node.pausing.resume("owner")
    await turns()
    assert (world.host.rests, pausing.done()) == (0, False)
    world.said_goodbye.set()
    await pausing
    assert (world.host.rests, world.host.awake.is_set()) == (1, True)
    world.fetched.set()
    await turns()
    assert (world.brought[-1], world.ran[-1]) == (1, 1)
    await world.stop()


async def test_paused_while_it_accounts_for_a_commit_it_follows_and_accounts_later(loop: Callable[[], Loop]) -> None:
    world = loop()
    await turns()
    world.last_moment = world.host.awake.clear  # it settles nothing from here on
    world.overtake(CHAIN[0])
    await turns()
    assert (world.brought[-1], world.desk.settled) == (1, [])
    world.last_moment = lambda: None
    await world.pause()
    await turns()
    assert world.node.phase == "paused"
    world.node.pausing.resume("owner")
    await turns()
    assert (world.desk.settled, world.ran) == ([], [0, 1])
    world.overtake(CHAIN[1])
    await turns()
    assert (world.desk.settled, world.ran) == ([1, 2], [0, 1, 2])
    await world.stop()


async def test_paused_in_the_last_moment_it_begins_no_round(loop: Callable[[], Loop]) -> None:
    world = loop()
    await turns()
    tasks: list[asyncio.Task[None]] = []
    world.overtake(CHAIN[0])
    world.last_moment = lambda: None if tasks else tasks.append(asyncio.create_task(world.pause()))
    await turns()
    assert (world.brought[-1], world.ran, world.node.phase) == (1, [0], "paused")
    await tasks[0]
    world.node.pausing.resume("owner")
    await turns()
    assert world.ran == [0, 1]
    await world.stop()


async def test_stopped_while_it_rests_it_leaves_nothing_behind(loop: Callable[[], Loop]) -> None:
    world = loop()
    await turns()
    await world.pause()
    await turns()
    assert world.node.phase == "paused"
    await world.stop()


async def test_stopped_while_it_fetches_it_leaves_nothing_behind(loop: Callable[[], Loop]) -> None:
    world = loop()
    await turns()
    world.fetched.clear()
    world.overtake(CHAIN[0])
    await turns()
    await world.stop()


async def test_paused_again_and_again_it_goes_on(loop: Callable[[], Loop]) -> None:
    world = loop()
    await turns()
    for step in CHAIN[:3]:
        world.overtake(step)
        await world.pause()
        world.node.pausing.resume("owner")
        await world.pause()
        await turns()
        world.node.pausing.resume("owner")
        await turns()
        assert (world.brought[-1], world.ran[-1]) == (step[0].round, step[0].round)
    await world.stop()


async def test_a_pause_keeps_the_reason_that_it_has_and_a_resume_says_whether_there_was_one(loop: Callable[[], Loop]) -> None:
    world = loop()
    ask = world.desk.requests
    assert await ask["pause"]({"reason": "a film"}) == {"reason": "a film"}
    assert await ask["pause"]({}) == {"reason": "a film"}
    assert await ask["pause"]({"reason": "two films"}) == {"reason": "two films"}
    assert await ask["resume"]({}) == {"reason": "", "was_paused": True}
    assert await ask["resume"]({}) == {"reason": "", "was_paused": False}
    await world.stop()
