"""The composition root's way of running everything at once: the first end or failure ends all, and leaves no task."""

from __future__ import annotations

import asyncio
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from daemon.kit import until

from collab.node import daemon
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


async def test_the_end_of_the_terminal_stops_in_order_however_often_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    let_go: list[str] = []
    monkeypatch.setattr(daemon, "_let_go_of_terminal", lambda: let_go.append("terminal"))
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup
    daemon._stop_on_signals(stop)
    try:
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: len(let_go) == 1)
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: len(let_go) == 2)
        assert stop.is_set()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.remove_signal_handler(number)
        signal.signal(signal.SIGHUP, before)


async def test_under_nohup_the_end_of_the_terminal_is_none_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        daemon._stop_on_signals(asyncio.Event())
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().remove_signal_handler(number)
        signal.signal(signal.SIGHUP, before)


def test_only_what_is_a_terminal_is_let_go(tmp_path: Path) -> None:
    script = "import os; from collab.node.daemon import _let_go_of_terminal as go; go(); print('shown'); os.write(2, b'logged')"
    ours, theirs = pty.openpty()
    with (tmp_path / "log").open("wb") as log:
        done = subprocess.run([sys.executable, "-c", script], stdin=theirs, stdout=theirs, stderr=log, check=True)
    os.close(theirs)
    with pytest.raises(OSError, match="Input/output error"):  # the end: nothing came
        os.read(ours, 100)
    os.close(ours)
    assert (done.returncode, (tmp_path / "log").read_bytes()) == (0, b"logged")
