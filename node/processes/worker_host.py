"""The worker process under supervision: started, opened on the event, and after a death brought back to where the swarm is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import structlog

from ...protocol.event import EventManifest
from ..errors import UserError
from ..manners.limits import Limits
from ..settings import Settings
from ..trainer import messages
from ..trainer.client import Worker
from .ipc import ChannelClosed, RemoteFailure
from .supervise import Supervisor

log = structlog.get_logger()

A = TypeVar("A")

_ATTEMPTS = 3
# What a person can mend; anything else that stops the worker is tried again.
_PERSON = frozenset({
    "bad_manifest", "bad_model", "missing_extra", "no_data", "bad_data", "bad_device", "no_space", "out_of_memory",
    "bad_checkpoint",
})  # fmt: skip


class WorkerHost:
    """Hands out a worker that is ready. `on_ready` is awaited after every start, before anybody else gets the worker."""

    def __init__(
        self,
        *,
        on_notice: Callable[[messages.Notice], None],
        on_ready: Callable[[Worker, messages.Opened], Awaitable[None]],
        on_death: Callable[[str, str], None],
    ) -> None:
        self._request: messages.Open | None = None
        self._spare: Worker | None = None
        self._on_notice = on_notice
        self._on_ready = on_ready
        self._ready = asyncio.Event()
        self._awake = asyncio.Event()
        self._awake.set()
        self._ending = asyncio.Lock()
        self._watch: asyncio.Task[None] | None = None
        self._stopped = False
        self._opened: messages.Opened | None = None
        self.supervisor: Supervisor[Worker] = Supervisor(
            "worker", self._launch, on_ready=self._prepare, on_death=lambda name, why: self._died(name, why, on_death)
        )

    @property
    def opened(self) -> messages.Opened:
        """What the worker said of the model and the data when it was opened."""
        assert self._opened is not None
        return self._opened

    async def warm_up(self) -> None:
        """Start the process while its event is not known yet: what it imports takes seconds, and so does the network."""
        self._spare = await self._spawn()

    async def start(self, request: messages.Open) -> None:
        """Start the worker on an event. Raises UserError for what a person can mend."""
        self._request = request
        try:
            await self.supervisor.start()
        except RemoteFailure as failure:
            if failure.code in _PERSON:
                raise UserError(failure.text) from failure
            raise
        except ChannelClosed as error:
            raise UserError("the trainer ended while it started; its last lines are above") from error

    async def run(self) -> None:
        """Keep the worker running while it is not at rest, for ever."""
        while True:
            await self._awake.wait()
            async with self._ending:  # a worker that still saves its checkpoint has the files
                if not self._awake.is_set():
                    continue
                self._watch = asyncio.create_task(self.supervisor.run())
            try:
                await asyncio.wait({self._watch})
            finally:
                self._watch.cancel()
            if not self._watch.cancelled():
                self._watch.result()

    async def rest(self) -> None:
        """Let the worker save what it has and end; no other is started before `wake`, and calls wait until then."""
        self._awake.clear()
        self._ready.clear()
        async with self._ending:
            if self._watch is not None:
                self._watch.cancel()
                await asyncio.wait({self._watch})
            await self.supervisor.stop()

    def wake(self) -> None:
        """Let a worker run again, from where the last one was."""
        self._awake.set()

    def reopen_with(self, **changes: Any) -> None:
        """Open the next worker with these fields of the request changed; nothing if there is no request to open one with yet."""
        if self._request is not None:
            self._request = self._request.model_copy(update=changes)

    async def stop(self) -> None:
        """Let the worker save what it has, and end it. Calls that wait for a worker end with ChannelClosed."""
        self._stopped = True
        self._ready.set()
        await self.supervisor.stop()
        if self._spare is not None:
            spare, self._spare = self._spare, None
            spare.kill()  # it holds nothing yet, and would notice a closed channel only after its imports
            await spare.stop()

    async def use(self, call: Callable[[Worker], Awaitable[A]]) -> A:
        """Return `await call(worker)`; when the worker dies meanwhile, the call is made again to its successor.

        Raises what the call raises; ChannelClosed when worker after worker dies, or when it was stopped.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            await self._ready.wait()
            if self._stopped:
                break
            worker = self.supervisor.current
            try:
                if worker is not None:
                    return await call(worker)
            except ChannelClosed:
                if attempt == _ATTEMPTS:
                    raise
            if self.supervisor.current is worker:  # else its successor may be ready by now
                self._ready.clear()
        raise ChannelClosed("the worker was stopped" if self._stopped else "the worker keeps dying")

    async def _spawn(self) -> Worker:
        return await Worker.start(self._on_notice, lambda line: log.info("trainer", line=line))

    async def _launch(self) -> Worker:
        assert self._request is not None
        worker, self._spare = self._spare or await self._spawn(), None
        try:
            self._opened = await worker.open(self._request)
        except BaseException:
            worker.kill()  # it holds nothing that is not on the disk, and would notice a closed channel only after its imports
            await worker.stop()
            raise
        return worker

    async def _prepare(self, worker: Worker) -> None:
        await self._on_ready(worker, self.opened)
        # Supervisor.current is set right after this returns, before anybody who waits can run.
        self._ready.set()

    def _died(self, name: str, why: str, report: Callable[[str, str], None]) -> None:
        self._ready.clear()
        report(name, why)


def open_request(
    event: EventManifest, peer_id: str, work_dir: Path, settings: Settings, limits: Limits | None = None, *, data: bool
) -> messages.Open:
    """Return how the worker is opened, within `limits` (default: the settings'); without `data` it neither trains nor tests."""
    limits = limits or settings.limits
    work_dir.mkdir(parents=True, exist_ok=True)
    settings.cache_dir.mkdir(parents=True, exist_ok=True)
    return messages.Open(
        manifest=event.encode(),
        peer_id=peer_id,
        work_dir=str(work_dir.absolute()),
        data_dir=str((settings.data_dir or Path.cwd()).absolute()),
        cache_dir=str(settings.cache_dir.absolute()),
        device=settings.device,
        threads=limits.threads,
        gpu_memory=limits.gpu_memory,
        micro_batch=settings.micro_batch,
        data=data,
    )
