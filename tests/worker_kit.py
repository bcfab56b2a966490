"""A worker in a thread of the test's own process: the same service over the same frames, without the seconds in which a process
imports torch. For tests that are about something else; tests/trainer, tests/daemon and tests/e2e start real ones."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

import pytest

from collab.node.processes.ipc import BlockingChannel, Channel, Child, spawn_child
from collab.node.trainer import client


@contextmanager
def workers_in_threads() -> Iterator[None]:
    """Start no worker's process in the block, but threads."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client, "spawn_child", _start)
        yield


@contextmanager
def workers_in_processes() -> Iterator[None]:
    """Start real ones in the block: what a test breaks in its own process is whole in theirs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client, "spawn_child", spawn_child)
        yield


async def _start(
    module: str,
    args: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    on_line: Callable[[str], None] = lambda line: None,
) -> Child:
    assert (module, tuple(args), env) == ("collab.node.trainer", (), None)
    ours, theirs = socket.socketpair()
    return _Thread(await Channel.over(ours), theirs)


class _Thread(Child):
    """What `Child` is for a process."""

    def __init__(self, channel: Channel, theirs: socket.socket) -> None:
        self.channel = channel
        self._socket = theirs
        self._running = asyncio.create_task(asyncio.to_thread(_serve, theirs))

    @property
    def pid(self) -> int:
        return os.getpid()

    async def wait(self) -> int:
        await asyncio.wait({self._running})
        return self._running.result()

    async def stop(self, grace: float = 5.0) -> int:
        await self.channel.close()
        return await self.wait()

    def kill(self) -> None:
        with suppress(OSError):  # it has ended
            self._socket.shutdown(socket.SHUT_RDWR)


def _serve(theirs: socket.socket) -> int:
    from collab.node.trainer.process import serve

    with theirs:
        try:
            serve(BlockingChannel(theirs))
        except (Exception, SystemExit):  # as a process would end
            return 1
    return 0
