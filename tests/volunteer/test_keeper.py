"""The daemon's task: limits changed while it runs, bytes counted, and rest and return."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from collab.node.errors import UserError
from collab.node.home import Home
from collab.node.hosting.pausing import Pausing
from collab.node.manners.gpus import Gpus
from collab.node.manners.keeper import Keeper, Kept
from collab.node.manners.limits import Limits
from collab.node.manners.load import OthersLoad
from collab.node.manners.policies import Seen
from collab.node.manners.senses import Senses, Touches
from collab.node.manners.usage import Usage
from collab.node.net.pacing import Pacer
from collab.node.net.traffic import Traffic


class World:
    """A node without a node."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder)
        self.home.prepare()
        self.seen = Seen()
        self.now = 0.0
        self.rests = 0
        self.wakes = 0
        self.reopened: list[Mapping[str, int]] = []
        self.traffic = Traffic()
        self.upload, self.download = Pacer(lambda: self.now), Pacer(lambda: self.now)
        self.pausing = Pausing(self.home.pause_path, lambda: self, self.nothing)

    async def nothing(self) -> None:
        return

    async def rest(self) -> None:
        self.rests += 1

    def wake(self) -> None:
        self.wakes += 1

    async def reopen(self, changes: Mapping[str, int]) -> None:
        self.reopened.append(changes)

    def keeper(self, base: Limits | None = None, *, trains: bool = True) -> Keeper:
        senses = cast(Senses, SimpleNamespace(look=lambda limits: self.seen))
        kept = Kept(
            self.home, self.pausing, self.traffic, self.upload, self.download, senses, self.reopen, trains
        )  # fmt: skip
        return Keeper(kept, base or Limits(calm_seconds=10), now=lambda: self.now)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "home")


async def test_the_node_rests_at_the_first_look_and_goes_on_after_calm(world: World) -> None:
    keeper = world.keeper()
    await keeper.look()
    assert world.pausing.reason == ""
    world.seen = replace(Seen(), others_gpu=1)
    for _ in range(3):
        await keeper.look()
    assert (world.pausing.reason, world.rests) == ("another program wants the GPU", 1)
    world.seen = Seen()
    world.now = 9.0
    await keeper.look()
    assert (world.pausing.reason, world.wakes) == ("another program wants the GPU a moment ago", 0)
    world.now = 10.0
    await keeper.look()
    assert (world.pausing.reason, world.wakes) == ("", 1)


async def test_what_the_owner_paused_stays_paused(world: World) -> None:
    keeper = world.keeper()
    await world.pausing.pause("owner", "mine")
    await keeper.look()
    assert (world.pausing.reason, world.wakes) == ("mine", 0)


async def test_a_node_that_does_not_train_never_rests(world: World) -> None:
    world.seen = Seen(on_battery=True)
    await world.keeper(trains=False).look()
    assert world.pausing.reason == ""


async def test_limits_change_at_once_and_outlive_the_process(world: World) -> None:
    keeper = world.keeper()
    await keeper.change("upload_rate", "1MB")
    await keeper.change("threads", "2")
    assert (world.upload.rate, world.reopened) == (1_000_000, [{"threads": 2}])
    with pytest.raises(UserError, match="at least 64kB"):
        await keeper.change("download_rate", "1kB")
    with pytest.raises(UserError, match="no limit 'dance'"):
        await keeper.change("dance", "1")
    again = world.keeper(Limits(threads=7, upload_day=5))
    assert (again.limits.threads, again.limits.upload_rate, again.limits.upload_day) == (2, 1_000_000, 5)
    assert again.state()["set"] == ["threads", "upload_rate"]
    await again.change("threads", "default")
    assert (again.limits.threads, world.reopened[-1]) == (7, {"threads": 7})
    assert world.keeper().limits.threads == 0


async def test_to_lift_the_limit_that_it_rests_for_ends_the_rest_at_once(world: World) -> None:
    keeper = world.keeper(Limits(cpu_temperature=60, calm_seconds=10))
    world.seen = replace(Seen(), cpu_temperature=70.0)
    await keeper.look()
    assert keeper.state()["rests"] == "the processor is hotter than 60 °C"
    await keeper.change("upload_rate", "1MB")
    assert world.pausing.reason
    world.seen = replace(Seen(), cpu_temperature=59.0)
    await keeper.change("upload_day", "1GB")  # another limit: the calm is waited for
    assert world.pausing.reason == "the processor is hotter than 60 °C a moment ago"
    await keeper.change("cpu_temperature", "80")
    assert (world.pausing.reason, keeper.state()["rests"], world.wakes) == ("", "", 1)


def test_a_damaged_file_is_said_so(world: World) -> None:
    for content in ("{", "[1]", '{"threads": 1}'):
        world.home.limits_path.write_text(content)
        with pytest.raises(UserError, match=r"limits\.json"):
            world.keeper()


async def test_quotas_are_counted_over_restarts(world: World) -> None:
    keeper = world.keeper(Limits(upload_day=1000, calm_seconds=0))
    world.traffic.sent["blob"] = 600
    await keeper.look()
    assert (world.pausing.reason, world.upload.closed) == ("", False)
    world.now = 31.0  # saved
    await keeper.look()
    world.traffic.sent.clear()
    keeper = world.keeper(Limits(upload_day=1000, calm_seconds=0))
    world.traffic.sent["rpc"] = 400
    await keeper.look()
    assert (world.pausing.reason, world.upload.closed) == ("the day's upload of 1.0 kB is used up", True)
    assert keeper.state()["used_day"] == (1000, 0)


def test_usage_by_day_and_month(tmp_path: Path) -> None:
    usage = Usage(tmp_path / "usage.json")
    for number in range(1, 31):
        usage.add(f"2026-10-{number:02d}", 1, 2)
        usage.add(f"2026-11-{number:02d}", 10, 20)
        usage.add(f"2026-12-{number:02d}", 100, 200)
    assert (usage.of_day("2026-11-05"), usage.of_month("2026-11-30")) == ((10, 20), (300, 600))
    assert usage.of_day("2026-10-02") == (0, 0)  # two months are kept
    usage.save()
    assert Usage(tmp_path / "usage.json").of_month("2026-12-01") == (3000, 6000)
    (tmp_path / "usage.json").write_text('{"2026-11-01": "x"}')
    assert Usage(tmp_path / "usage.json").of_month("2026-11-01") == (0, 0)


def test_what_others_use_is_what_is_used_less_ours() -> None:
    total = iter([(0.0, 0.0), (2.0, 4.0), (6.0, 8.0)])
    own = iter([{1: 0.0}, {1: 1.0}, {1: 1.0, 2: 1.0}])
    load = OthersLoad(lambda: next(total), lambda: next(own))
    assert [load.read() for _ in range(3)] == [None, 25.0, 50.0]


class Nvml:
    """NVML with one GPU on which `pids` compute."""

    NVML_TEMPERATURE_GPU = 0

    class NVMLError(Exception):
        """As NVML's."""

    def __init__(self, *pids: int) -> None:
        self.pids: list[int] = [*pids]
        self.broken = False

    def nvmlDeviceGetCount(self) -> int:
        return 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:
        return f"gpu {index}"

    def nvmlDeviceGetComputeRunningProcesses(self, handle: str) -> list[Any]:
        if self.broken:
            raise Nvml.NVMLError
        return [SimpleNamespace(pid=pid) for pid in self.pids]

    def nvmlDeviceGetTemperature(self, handle: str, sensor: int) -> int:
        return 61


def test_others_on_the_gpu_are_told_from_us_and_ours() -> None:
    nvml = Nvml(77)
    gpus = Gpus(lambda: nvml, lambda pid: pid == 5)
    assert gpus.look(4) == (None, None)  # where we cannot be seen, nobody can be told apart
    nvml.pids = [4, 5, 77]
    assert gpus.look(4) == (1, 61.0)
    nvml.pids = [77]
    assert gpus.look(None) == (1, 61.0)  # while we rest
    nvml.broken = True
    assert gpus.look(4) == (None, None)
    assert Gpus(lambda: None).look(4) == (None, None)


def test_only_what_is_limited_is_looked_at() -> None:
    class NotToBeAsked:
        def __getattr__(self, name: str) -> Any:
            raise AssertionError(name)

    ask: Any = NotToBeAsked()
    senses = Senses(lambda: None, load=ask, gpus=ask, touched=ask)
    assert senses.look(Limits(on_battery=True)) == Seen()
    looking = Senses(lambda: 4, load=ask, gpus=Gpus(lambda: Nvml(4), lambda pid: False), touched=lambda: 3.0)
    seen = looking.look(Limits(on_battery=True, idle_minutes=1))
    assert (seen.idle_seconds, seen.others_gpu, seen.gpu_temperature) == (3.0, 0, 61.0)


def test_a_terminal_that_is_opened_shows_without_a_list_of_log_ins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("psutil.users", list)
    ends = os.openpty()
    try:
        opened = os.stat(os.ttyname(ends[1])).st_atime
        seen = Touches(tmp_path / "none", lambda: opened + 7.0).idle_seconds()
        assert seen is not None
        assert seen <= 7.0
    finally:
        for end in ends:
            os.close(end)


def test_a_keyboard_that_is_used_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collab.node.manners.senses._terminals", list)
    interrupts, now = tmp_path / "interrupts", [100.0]
    touches = Touches(interrupts, lambda: now[0])
    assert touches.idle_seconds() is None
    interrupts.write_text("  1:   10   4  IO-APIC  1-edge  i8042\n 9: 5 5 acpi\n")
    assert touches.idle_seconds() is None
    interrupts.write_text("  1:   11   4  IO-APIC  1-edge  i8042\n 9: 9 5 acpi\n")
    assert touches.idle_seconds() == 0.0
    now[0] = 130.0
    assert touches.idle_seconds() == 30.0
