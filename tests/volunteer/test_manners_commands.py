"""`limits` and `set`: of a node that runs, and of one that does not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from collab.node.cli.app import app
from collab.node.control.socket import ControlServer
from collab.node.errors import UserError
from collab.node.home import Home
from collab.node.manners.limits import Limits


def run(*words: str) -> Result:
    return CliRunner().invoke(app, list(words), prog_name="collab-node")


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Home:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("COLLAB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLLAB_UPLOAD_RATE", "2MB")
    return Home(tmp_path / "home")


def test_without_a_node_the_next_one_is_meant() -> None:
    assert run("set", "others_cpu", "25%").stdout == "others_cpu is 25%\n"
    assert run("set", "upload_rate=500kB").stdout == "upload_rate is 500.0 kB/s\n"
    lines = run("limits").stdout.splitlines()
    assert "upload_rate      500.0 kB/s*   sends no faster" in lines
    assert "hours            any hour      trains in these hours only" in lines
    assert lines[-1].startswith("* set by you")
    assert run("set", "upload_rate", "default").stdout == "upload_rate is 2.0 MB/s\n"
    assert json.loads(run("limits", "--json").stdout)["set"] == ["others_cpu"]


def test_what_is_wrong_changes_nothing(home: Home) -> None:
    for words, said in ((("others_cpu", "lots"), "others_cpu"), (("dance", "1"), "there is no limit 'dance'"), (
        ("Thread", "2"), "is it threads?"), (("on_battery", "maybe"), "yes or no")):
        result = run("set", *words)
        assert (result.exit_code, result.stderr.startswith("error: "), said in result.stderr) == (1, True, True)
    lacking = run("set", "hours")
    assert (lacking.exit_code, "hours lacks a value" in lacking.stderr) == (2, True)
    assert not home.limits_path.exists()


async def test_a_node_that_runs_is_asked(home: Home) -> None:
    asked: list[Mapping[str, Any]] = []
    state = {
        "limits": Limits(threads=3).model_dump(), "set": ["threads"], "used_day": [1500, 0], "used_month": [2500, 9],
        "rests": "on battery",
    }  # fmt: skip

    async def set_limit(request: Mapping[str, Any]) -> Mapping[str, Any]:
        asked.append(request)
        if request["value"] == "bad":
            raise UserError("threads: not a number")
        return state

    async def limits(request: Mapping[str, Any]) -> Mapping[str, Any]:
        return state

    home.prepare()
    async with ControlServer(home.control_path, {"set": set_limit, "limits": limits}):
        assert (await asyncio.to_thread(run, "set", "threads", "3")).stdout == "threads is 3\nthe node rests: on battery\n"
        assert "threads: not a number" in (await asyncio.to_thread(run, "set", "threads", "bad")).stderr
        shown = (await asyncio.to_thread(run, "limits")).stdout
    assert asked[0] == {"key": "threads", "value": "3"}
    assert "this day: 1.5 kB up, 0 B down" in shown
    assert not home.limits_path.exists()
