"""The control socket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from collab.node.control.socket import ControlError, ControlServer, NotRunning, call
from collab.node.errors import UserError
from collab.node.home import Home


async def echo(request: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"heard": request}


async def refuse(request: Mapping[str, Any]) -> Mapping[str, Any]:
    raise UserError("not now", "later")


async def fail(request: Mapping[str, Any]) -> Mapping[str, Any]:
    raise ZeroDivisionError("a bug")


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Path]:
    async with ControlServer(Home(tmp_path).control_path, {"echo": echo, "refuse": refuse, "fail": fail}):
        yield tmp_path


async def ask(home: Path, request: str, **arguments: Any) -> dict[str, Any]:
    return await asyncio.to_thread(call, home, request, **arguments)


async def test_a_request_is_answered(home: Path) -> None:
    assert await ask(home, "echo", round=3, name="é", blob=b"\0") == {"heard": {"round": 3, "name": "é", "blob": b"\0"}}


async def test_refusals_are_errors_of_the_caller(home: Path) -> None:
    with pytest.raises(ControlError, match="not now") as refused:
        await ask(home, "refuse")
    assert refused.value.hint == "later"
    with pytest.raises(ControlError, match="does not know the request 'dance'"):
        await ask(home, "dance")


async def test_a_bug_of_the_node_is_said_so(home: Path) -> None:
    with pytest.raises(ControlError, match="the node failed at this: ZeroDivisionError") as refused:
        await ask(home, "fail")
    assert "log" in refused.value.hint


async def test_only_the_owner_may_connect_and_the_socket_goes_with_the_server(tmp_path: Path) -> None:
    path = Home(tmp_path).control_path
    path.write_text("what a killed daemon left")
    async with ControlServer(path, {}):
        assert path.stat().st_mode & 0o777 == 0o600
    assert not path.exists()


async def test_bytes_that_are_no_request_end_the_connection(home: Path) -> None:
    for garbage in (b"\xff" * 64, b"\1\0\0\0\x80\x80", b""):
        reader, writer = await asyncio.open_unix_connection(Home(home).control_path)
        writer.write(garbage)
        writer.write_eof()
        await reader.read()
        writer.close()
        await writer.wait_closed()
    assert "heard" in await ask(home, "echo")


def test_no_node_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(NotRunning, match="no node runs in") as nobody:
        call(tmp_path, "status")
    assert "collab-node join" in nobody.value.hint
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(Home(tmp_path).control_path))
    with pytest.raises(NotRunning):
        call(tmp_path, "status")


def test_a_node_that_hangs_is_said_so(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(Home(tmp_path).control_path))
        deaf.listen()
        with pytest.raises(ControlError, match="does not answer"):
            call(tmp_path, "status", timeout=0.05)


def test_a_node_that_ends_while_it_is_asked_runs_no_more(tmp_path: Path) -> None:
    path = Home(tmp_path).control_path
    path.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server, ThreadPoolExecutor(1) as pool:
        server.bind(str(path))
        server.listen()
        ended = pool.submit(lambda: server.accept()[0].close())
        with pytest.raises(NotRunning, match="ended while it was asked"):
            call(tmp_path, "status")
        ended.result()
