"""The composition root's way of running everything at once: the first end or failure ends all, and leaves no task."""

from __future__ import annotations

import asyncio

import pytest

from collab.node.daemon import _until


class Background:
    """A loop that notes how it ended."""

    def __init__(self) -> None:
        self.ended = False

    async def run(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.ended = True


async def soon() -> None:
    await asyncio.sleep(0)


async def broken() -> None:
    await asyncio.sleep(0)
    raise ZeroDivisionError("a bug")


async def test_the_end_of_the_main_part_ends_the_others() -> None:
    background = Background()
    await _until(asyncio.Event(), soon(), background.run())
    assert background.ended
    assert len(asyncio.all_tasks()) == 1


async def test_an_other_part_may_end_by_itself() -> None:
    go = asyncio.Event()

    async def main() -> None:
        await go.wait()

    async def other() -> None:
        await asyncio.sleep(0)
        go.set()

    await _until(asyncio.Event(), main(), other())


@pytest.mark.parametrize("main_breaks", [True, False])
async def test_a_failure_comes_through_and_ends_the_rest(main_breaks: bool) -> None:
    one, other = Background(), Background()
    parts = [broken(), one.run()] if main_breaks else [one.run(), broken()]
    with pytest.raises(ZeroDivisionError):
        await _until(asyncio.Event(), *parts, other.run())
    assert one.ended
    assert other.ended
    assert len(asyncio.all_tasks()) == 1


async def test_being_told_to_stop_ends_all() -> None:
    stop, main, other = asyncio.Event(), Background(), Background()
    running = asyncio.create_task(_until(stop, main.run(), other.run()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    stop.set()
    await running
    assert main.ended
    assert other.ended
    assert len(asyncio.all_tasks()) == 1


async def test_who_is_told_to_stop_before_it_began_ends_at_once() -> None:
    stop = asyncio.Event()
    stop.set()
    async with asyncio.timeout(5):
        await _until(stop, asyncio.Event().wait())  # type: ignore[arg-type]
    assert len(asyncio.all_tasks()) == 1
