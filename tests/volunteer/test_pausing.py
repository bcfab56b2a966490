"""Why a node rests, and when it goes on."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from daemon.kit import until

from collab.node.errors import UserError
from collab.node.hosting.pausing import OWNER_REASON, Pausing


class World:
    """What a pause does, in order."""

    def __init__(self, folder: Path) -> None:
        self.done: list[str] = []
        self.note = folder / "paused"
        self.pausing = self.again()

    def again(self) -> Pausing:
        return Pausing(self.note, lambda: self, self.goodbye)

    async def rest(self) -> None:
        self.done.append("rest")

    def wake(self) -> None:
        self.done.append("wake")

    async def goodbye(self) -> None:
        self.done.append("goodbye")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_a_node_says_goodbye_before_it_rests_and_wakes_once(world: World) -> None:
    pausing = world.pausing
    assert (pausing.reason, await pausing.ended(0.0)) == ("", True)
    await pausing.pause("owner", "a film tonight")
    assert (pausing.reason, world.done) == ("a film tonight", ["goodbye", "rest"])
    assert not await pausing.ended(0.0)
    assert pausing.resume("owner") == ""
    assert pausing.resume("owner") == ""
    assert world.done == ["goodbye", "rest", "wake"]


async def test_it_rests_as_long_as_anybody_has_a_reason(world: World) -> None:
    pausing = world.pausing
    await pausing.pause("manners", "on battery")
    await pausing.pause("owner", "mine")
    assert (pausing.reason, dict(pausing.reasons)) == ("mine", {"manners": "on battery", "owner": "mine"})
    assert world.done.count("goodbye") == 1
    assert pausing.resume("owner") == "on battery"
    assert "wake" not in world.done
    assert pausing.resume("manners") == ""
    assert world.done[-1] == "wake"


async def test_whoever_waits_hears_of_the_end(world: World) -> None:
    await world.pausing.pause("manners", "hot")
    waiting = asyncio.create_task(world.pausing.ended(60.0))
    await asyncio.sleep(0)
    world.pausing.resume("manners")
    assert await waiting


async def test_the_owners_wish_outlives_the_process_and_the_manners_do_not(world: World) -> None:
    await world.pausing.pause("manners", "hot")
    assert world.again().reason == ""
    await world.pausing.pause("owner", "travelling")
    second = world.again()
    assert dict(second.reasons) == {"owner": "travelling"}
    await second.enforce()
    assert world.done[-1] == "rest"
    second.resume("owner")
    assert world.again().reason == ""
    world.note.write_bytes(b"\n")
    assert world.again().reason == OWNER_REASON


async def test_a_pause_that_cannot_be_noted_is_refused(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file where the folder should be")
    world = World(tmp_path / "home")
    with pytest.raises(UserError, match="cannot write"):
        await world.pausing.pause("owner", "now")
    assert (world.pausing.reason, world.done) == ("", [])


async def test_to_wait_costs_no_turns(world: World) -> None:
    await world.pausing.pause("owner", "now")
    ended = False

    async def wait() -> None:
        nonlocal ended
        ended = await world.pausing.ended(3600.0)

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    world.pausing.resume("owner")
    await until(lambda: ended)
    await task


async def test_a_pause_that_is_taken_back_while_it_begins_still_begins_anew(world: World) -> None:
    async def goodbye() -> None:
        world.pausing.resume("manners")

    world.pausing._on_rest = goodbye
    await world.pausing.pause("manners", "hot")
    assert (world.pausing.reason, world.done) == ("", ["wake", "rest", "wake"])
