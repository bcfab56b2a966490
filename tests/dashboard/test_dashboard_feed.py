"""One reader, many watchers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from collab.node.dashboard.feed import Feed
from collab.node.dashboard.state import State


class Source:
    """States on demand."""

    def __init__(self) -> None:
        self.number = 0
        self.reads = 0

    async def read(self) -> State:
        self.reads += 1
        return State({"n": {"is": self.number}})

    async def change(self, feed: Feed) -> None:
        self.number += 1
        await feed.refresh()


async def take(stream: AsyncIterator[bytes]) -> tuple[str, str, Any]:
    """The next event: its kind, its id and its data."""
    async with asyncio.timeout(5):
        lines = (await anext(stream)).decode().splitlines()
    fields = dict(line.split(": ", 1) for line in lines if line)
    return fields["event"], fields["id"], json.loads(fields["data"])


async def until(condition: Callable[[], bool]) -> None:
    """Let everything that can run do so until a condition holds."""
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came to pass")


async def test_a_page_gets_the_whole_state_and_then_what_changed() -> None:
    source = Source()
    feed = Feed(source.read, 60)
    await feed.refresh()
    watching = feed.watch()
    kind, _, data = await take(watching)
    assert (kind, data) == ("state", {"values": {"n": {"is": 0}}, "tables": {}})
    await source.change(feed)
    kind, _, data = await take(watching)
    assert (kind, data) == ("delta", {"values": {"n": {"is": 1}}})


async def test_nothing_is_told_when_nothing_changed() -> None:
    source = Source()
    feed = Feed(source.read, 60)
    await feed.refresh()
    before = feed.whole()
    await feed.refresh()
    assert feed.whole() is before


async def test_a_page_that_comes_back_gets_what_it_missed_and_no_more() -> None:
    source = Source()
    feed = Feed(source.read, 60)
    await feed.refresh()
    _, seen, _ = await take(feed.watch())
    await source.change(feed)
    await source.change(feed)
    back = feed.watch(seen)
    assert [(await take(back))[2]["values"]["n"]["is"] for _ in range(2)] == [1, 2]


async def test_a_page_that_missed_too_much_or_knows_another_server_starts_again() -> None:
    source = Source()
    feed = Feed(source.read, 60)
    await feed.refresh()
    _, seen, _ = await take(feed.watch())
    for _ in range(100):
        await source.change(feed)
    for known in (seen, "other-100", "nonsense", seen.split("-")[0] + "-99999", "-1", "--"):
        kind, _, data = await take(feed.watch(known))
        assert (kind, data["values"]["n"]["is"]) == ("state", 100)


async def test_a_slow_page_costs_no_memory_and_catches_up() -> None:
    source = Source()
    feed = Feed(source.read, 60)
    await feed.refresh()
    slow = feed.watch()
    await take(slow)
    for _ in range(1000):
        await source.change(feed)
    kind, _, data = await take(slow)
    assert (kind, data["values"]["n"]["is"]) == ("state", 1000)


async def test_watchers_are_counted_and_wake_the_reader() -> None:
    source = Source()
    feed = Feed(source.read, 1e6)
    running = asyncio.create_task(feed.run())
    await until(lambda: source.reads == 1)
    source.number = 7
    watching = feed.watch()
    await take(watching)
    assert feed.watchers == 1
    kind, _, data = await take(watching)  # the reader does not wait for its period
    assert (kind, data["values"]["n"]["is"]) == ("delta", 7)
    await watching.aclose()  # type: ignore[attr-defined]
    assert feed.watchers == 0
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_streams_end_with_the_feed() -> None:
    source = Source()
    feed = Feed(source.read, 1e6)
    running = asyncio.create_task(feed.run())
    watching = feed.watch()
    await take(watching)
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert [event async for event in watching] in ([], [feed.whole()])
