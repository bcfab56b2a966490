"""Frames and channels: any split, any hostile bytes, concurrent requests, and a child that comes and goes."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collab.node.processes.frames import MAX_FRAME, FrameDecoder, FrameError, encode_frame
from collab.node.processes.ipc import BlockingChannel, Channel, ChannelClosed, Child, RemoteFailure, failure, reply, spawn_child

CHILD = '''
import sys
from collab.node.processes.ipc import BlockingChannel, ChannelClosed, inherited_socket, reply
channel = BlockingChannel(inherited_socket(sys.argv))
print("started", flush=True)
print("x" * 20000, file=sys.stderr, flush=True)
while True:
    try:
        message = channel.receive()
    except ChannelClosed:
        raise SystemExit(0)
    if message["kind"] == "die":
        raise SystemExit(3)
    channel.send(reply(message, double=2 * message["value"]))
'''

plain = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=20) | st.binary(max_size=50)
names = st.text(max_size=8)
values = st.recursive(plain, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4))
messages = st.dictionaries(names, values, max_size=5)


@given(st.lists(messages, max_size=4), st.data())
def test_frames_survive_any_split(sent: list[dict[str, object]], data: st.DataObject) -> None:
    stream = b"".join(encode_frame(message) for message in sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    decoder = FrameDecoder()
    received: list[dict[str, object]] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        received += decoder.feed(stream[start:end])
    assert received == sent
    assert decoder.pending == 0


@given(st.binary(max_size=200))
def test_any_bytes_give_messages_or_a_frame_error(data: bytes) -> None:
    try:
        for message in FrameDecoder().feed(data):
            assert isinstance(message, dict)
    except FrameError:
        pass


def test_a_claimed_length_is_refused_before_its_bytes_arrive() -> None:
    with pytest.raises(FrameError, match="claims"):
        list(FrameDecoder().feed(struct.pack("<I", MAX_FRAME + 1)))


def test_an_oversized_message_is_not_sent() -> None:
    with pytest.raises(FrameError, match="at most"):
        encode_frame({"data": bytes(MAX_FRAME)})


@pytest.fixture
async def ends() -> AsyncIterator[tuple[Channel, Channel]]:
    ours, theirs = socket.socketpair()
    left, right = await Channel.over(ours), await Channel.over(theirs)
    yield left, right
    await left.close()
    await right.close()


async def drain(channel: Channel) -> list[dict[str, object]]:
    return [message async for message in channel]


async def test_concurrent_requests_are_answered_in_any_order(ends: tuple[Channel, Channel]) -> None:
    left, right = ends

    async def answer_backwards() -> None:
        asked = []
        async for message in right:
            asked.append(message)
            if len(asked) == 3:
                for request in reversed(asked):
                    await right.send(reply(request, value=request["value"] + 1))
                return

    async with asyncio.TaskGroup() as tasks:
        reading = tasks.create_task(drain(left))
        tasks.create_task(answer_backwards())
        answers = await asyncio.gather(*(left.request({"kind": "add", "value": value}) for value in range(3)))
        reading.cancel()
    assert [answer["value"] for answer in answers] == [1, 2, 3]


async def test_a_remote_failure_is_raised_and_the_end_wakes_all_requests(ends: tuple[Channel, Channel]) -> None:
    left, right = ends

    async def refuse_then_leave() -> None:
        async for message in right:
            await right.send(failure(message, "busy", "try later"))
            break
        await right.close()

    async with asyncio.TaskGroup() as tasks:
        reading = tasks.create_task(drain(left))
        tasks.create_task(refuse_then_leave())
        with pytest.raises(RemoteFailure, match="try later") as caught:
            await left.request({"kind": "work"})
        assert caught.value.code == "busy"
        with pytest.raises(ChannelClosed):
            await left.request({"kind": "work"})
        assert await reading == []


async def test_a_request_times_out(ends: tuple[Channel, Channel]) -> None:
    with pytest.raises(TimeoutError):
        await ends[0].request({"kind": "work"}, timeout=0.01)


def test_the_blocking_channel_polls_and_sees_the_end() -> None:
    ours, theirs = socket.socketpair()
    left, right = BlockingChannel(ours), BlockingChannel(theirs)
    assert right.poll() is None
    frame = encode_frame({"kind": "go"})
    ours.sendall(frame[:3])
    assert right.poll() is None
    ours.sendall(frame[3:] + frame)
    assert right.poll() == {"kind": "go"}
    assert right.receive() == {"kind": "go"}
    left.close()
    with pytest.raises(ChannelClosed):
        right.poll()
    right.close()


@pytest.fixture
async def child(tmp_path: Path) -> AsyncIterator[tuple[Child, list[str]]]:
    (tmp_path / "echo_child.py").write_text(CHILD)
    lines: list[str] = []
    child = await spawn_child("echo_child", env={"PYTHONPATH": str(tmp_path)}, on_line=lines.append)
    yield child, lines
    await child.stop()


async def test_a_child_answers_and_stops_when_the_channel_closes(child: tuple[Child, list[str]]) -> None:
    running, lines = child
    reading = asyncio.create_task(drain(running.channel))
    assert (await running.channel.request({"kind": "double", "value": 21}))["double"] == 42
    assert os.getpgid(running.pid) == running.pid
    await running.stop()
    await reading
    assert lines[0] == "started"
    assert "".join(lines[1:]) == "x" * 20000
    assert all(len(line) <= 8192 for line in lines)


async def test_the_channel_ends_with_the_child(child: tuple[Child, list[str]]) -> None:
    running, _ = child
    await running.channel.send({"kind": "die"})
    assert await drain(running.channel) == []
    assert await running.wait() == 3


async def test_a_module_started_by_hand_says_so() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "import sys; from collab.node.processes.ipc import inherited_socket; inherited_socket(sys.argv)",
        stderr=asyncio.subprocess.PIPE, env={**os.environ, "PYTHONSAFEPATH": "1"},
    )  # fmt: skip
    _, errors = await process.communicate()
    assert process.returncode == 1
    assert errors.decode().strip() == "this is a part of the collab-node daemon, which starts it itself"
