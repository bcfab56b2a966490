"""The daemon's side of the worker: one method a request, notices through a callback."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import TypeVar

from ..processes.ipc import Child, spawn_child
from . import messages

__all__ = ["Worker", "part"]

A = TypeVar("A", bound=messages.Message)


class Worker:
    """A running worker process. Methods raise RemoteFailure (a WorkerError's code and line) and ChannelClosed (it died)."""

    def __init__(self, child: Child, on_notice: Callable[[messages.Notice], None]) -> None:
        """Use `start`. `on_notice` is called in the order of the notices, between other things that the loop does."""
        self._child = child
        self._on_notice = on_notice
        self._pump = asyncio.create_task(self._listen())

    @classmethod
    async def start(
        cls,
        on_notice: Callable[[messages.Notice], None] = lambda notice: None,
        on_line: Callable[[str], None] = lambda line: None,
        env: Mapping[str, str] | None = None,
    ) -> Worker:
        """Start the process; `on_line` hears what it prints."""
        return cls(await spawn_child("collab.node.trainer", env=env, on_line=on_line), on_notice)

    @property
    def pid(self) -> int:
        """The worker's process id."""
        return self._child.pid

    async def _listen(self) -> None:
        async for message in self._child.channel:
            event = str(message.pop("event", ""))
            self._on_notice(messages.NOTICES[event].model_validate(message))

    async def wait(self) -> int:
        """Wait until the process has ended, for whatever reason; return its exit status."""
        status = await self._child.wait()
        await self._pump
        return status

    async def stop(self, grace: float = 10.0) -> int:
        """Let it save its checkpoint and end, kill it after `grace` seconds; return its exit status."""
        status = await self._child.stop(grace)
        await self._pump
        return status

    def kill(self) -> None:
        """Kill it at once."""
        self._child.kill()

    async def _ask(self, request: messages.Request, answer: type[A]) -> A:
        result = await self._child.channel.request({"op": request.OP, **request.model_dump()})
        result.pop("re")
        return answer.model_validate(result)

    async def open(self, request: messages.Open) -> messages.Opened:
        """See messages.Open."""
        return await self._ask(request, messages.Opened)

    async def amend(self, manifest: bytes) -> None:
        """See messages.Amend."""
        await self._ask(messages.Amend(manifest=manifest), messages.Done)

    async def init(self, seed: int, commit: bytes | None = None) -> bytes:
        """See messages.Init; returns the state hash."""
        return (await self._ask(messages.Init(seed=seed, commit=commit), messages.State)).state

    async def load(
        self, path: str, commit: bytes | None = None, *, carry: bool = True, weights_only: bool = False
    ) -> bytes:
        """See messages.Load; returns the state hash."""
        request = messages.Load(path=path, commit=commit, carry=carry, weights_only=weights_only)
        return (await self._ask(request, messages.State)).state

    async def snapshot(self, path: str, *, weights_only: bool = False) -> messages.Written:
        """See messages.Snapshot."""
        return await self._ask(messages.Snapshot(path=path, weights_only=weights_only), messages.Written)

    async def train(
        self, round: int, base_samples: int, *, peers: int = 1, max_steps: int = 0, position: int | None = None
    ) -> None:
        """See messages.Train."""
        request = messages.Train(round=round, base_samples=base_samples, peers=peers, max_steps=max_steps, position=position)
        await self._ask(request, messages.Done)

    async def stop_training(self) -> None:
        """See messages.Stop."""
        await self._ask(messages.Stop(), messages.Done)

    async def compress(self, *, full: bool = False) -> messages.Compressed:
        """See messages.Compress."""
        return await self._ask(messages.Compress(full=full), messages.Compressed)

    async def settle(self, sha256: bytes, path: str = "", *, accepted: bool) -> None:
        """See messages.Settle."""
        await self._ask(messages.Settle(sha256=sha256, path=path, accepted=accepted), messages.Done)

    async def inspect(self, path: str, fisher_path: str | None = None, *, full: bool = False) -> messages.Inspected:
        """See messages.Inspect."""
        return await self._ask(messages.Inspect(path=path, fisher_path=fisher_path, full=full), messages.Inspected)

    async def merge(self, request: messages.Merge) -> messages.Merged:
        """See messages.Merge."""
        return await self._ask(request, messages.Merged)

    async def merge_changes(self, request: messages.MergeChanges) -> messages.Merged:
        """See messages.MergeChanges."""
        return await self._ask(request, messages.Merged)

    async def measure(self, request: messages.Measure) -> messages.Measured:
        """See messages.Measure."""
        return await self._ask(request, messages.Measured)

    async def undo(self, request: messages.Undo) -> messages.Merged:
        """See messages.Undo."""
        return await self._ask(request, messages.Merged)

    async def overlap(self, request: messages.Overlap) -> messages.Overlaps:
        """See messages.Overlap."""
        return await self._ask(request, messages.Overlaps)

    async def adopt(self, key: str, commit: bytes, *, reset_optimiser: bool = False, carry: bool = False) -> bytes:
        """See messages.Adopt; returns the state hash."""
        request = messages.Adopt(key=key, commit=commit, reset_optimiser=reset_optimiser, carry=carry)
        return (await self._ask(request, messages.State)).state

    async def evaluate(self, request: messages.Evaluate | None = None) -> messages.Evaluated:
        """See messages.Evaluate; by default the base on the event's held-out samples."""
        return await self._ask(request or messages.Evaluate(), messages.Evaluated)

    async def gate(self, request: messages.RunGate) -> messages.GateRun:
        """See messages.RunGate."""
        return await self._ask(request, messages.GateRun)

    async def make_module(self, request: messages.MakeModule) -> messages.MadeModule:
        """See messages.MakeModule."""
        return await self._ask(request, messages.MadeModule)

    async def save(self, commit: bytes | None = None) -> None:
        """See messages.Save."""
        await self._ask(messages.Save(commit=commit), messages.Done)


def part(path: str, share: Fraction, *, fisher_path: str | None = None, clip: float | None = None) -> messages.Part:
    """Return a merge's part from an exact share."""
    numerator, denominator = (
        number.to_bytes((number.bit_length() + 7) // 8 or 1, "big") for number in share.as_integer_ratio()
    )
    return messages.Part(path=path, numerator=numerator, denominator=denominator, fisher_path=fisher_path, clip=clip)
