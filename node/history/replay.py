"""Versions of the model from the store alone, replayed in a worker process of their own, whether or not a node runs.

Nothing is written to the store: what is loaded or merged is believed when its state hash is the commit's, and then used.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from ...protocol.commit import Commit
from ...protocol.errors import RemoteProtocolError
from ...protocol.event import EventManifest
from ..errors import UserError
from ..metrics.metrics import Metrics
from ..net.errors import NetworkError
from ..processes.ipc import ChannelClosed, RemoteFailure
from ..processes.worker_host import WorkerHost, open_request
from ..rounds.fetching import Fetcher, Unavailable
from ..rounds.offers import SnapshotOffers
from ..rounds.weights import StateMismatch, Weights
from ..settings import Settings
from ..store import Store
from ..trainer import messages
from ..trainer.client import Worker

_FETCH = "start the node, so that it fetches it, or `collab-node unbundle` a history that has it"


class Replay(Weights):
    """The weights of one commit after another; `applied` counts the merges that were replayed for them."""

    def __init__(self, event: EventManifest, host: WorkerHost, store: Store) -> None:
        fetcher = Fetcher(store.blobs, _offline, lambda: ())
        super().__init__(event, host, store, fetcher, SnapshotOffers(), Metrics(), writes=False)
        self.applied = 0

    async def start_at(self, commit: Commit) -> None:
        """Take the state after `commit` from the event's seed or a snapshot. Raises StateMismatch, Unavailable, RemoteFailure."""
        seed = self._event.start.seed
        if not commit.parents and seed is not None:
            await self._believe(commit, await self._call(lambda worker: worker.init(seed, commit.digest)))
        else:
            await self._load(commit, carry=False)

    async def replay(self, commit: Commit) -> None:
        """Merge what `commit` merged, and compare. Raises StateMismatch, Unavailable, RemoteFailure."""
        await super().replay(commit)
        self.applied += 1

    async def step(self, commit: Commit) -> None:
        """Replay the child of where we are, and go there. Raises StateMismatch, Unavailable, RemoteFailure."""
        await self.replay(commit)
        await self.adopt(commit)

    async def go_to(self, commit: Commit) -> None:
        """Go to any commit from the nearest state, which may be a snapshot. Raises StateMismatch, RemoteFailure, UserError."""
        if self.base == commit.digest:
            return
        try:
            self.base = self.base if self._is_near(commit) else None
            await self.bring_to(commit, carry=False)
        except Unavailable as error:
            raise UserError(f"this store lacks what the weights of round {commit.round} are made of", _FETCH) from error
        except (KeyError, RemoteProtocolError) as error:
            problem = f"a commit before round {commit.round} is missing or damaged ({error})"
            raise UserError(problem, "`collab-node fsck` says what to do") from error

    def _is_near(self, commit: Commit) -> bool:
        """Say whether we are an ancestor with no snapshot on the way from it."""
        at = commit
        while at.parents and not self._has_snapshot(at):
            at = self._store.commit(at.base)
            if at.digest == self.base:
                return True
        return False

    def _has_snapshot(self, commit: Commit) -> bool:
        blob = self._store.snapshot_of(commit.digest)
        return blob is not None and self._store.blobs.has(blob)

    async def write(self, out: Path, *, weights_only: bool = True) -> messages.Written:
        """Write the weights, or the whole state, to `out` (an absolute path) as safetensors, whole or not at all."""
        return await self._call(lambda worker: worker.snapshot(str(out), weights_only=weights_only))

    async def gate(self, request: messages.RunGate) -> messages.GateRun:
        """Run a gate in the worker. Raises RemoteFailure."""
        return await self._call(lambda worker: worker.gate(request))

    async def measure(self, request: messages.Measure) -> messages.Measured:
        """See messages.Measure. Raises RemoteFailure."""
        return await self._call(lambda worker: worker.measure(request))

    async def make_module(self, request: messages.MakeModule) -> messages.MadeModule:
        """See messages.MakeModule. Raises RemoteFailure."""
        return await self._call(lambda worker: worker.make_module(request))

    async def loss(self, samples: int = 0, candidate: str = "") -> float:
        """Return the held-out loss in nats a token, of where we are or of a merge by its key.

        Of the event's number of samples if `samples` is 0.
        """
        request = messages.Evaluate(of="candidate" if candidate else "base", key=candidate, samples=samples)
        return (await self._call(lambda worker: worker.evaluate(request))).loss

    async def overlap(self, request: messages.Overlap) -> messages.Overlaps:
        """See messages.Overlap. Raises RemoteFailure."""
        return await self._call(lambda worker: worker.overlap(request))


@asynccontextmanager
async def replaying(event: EventManifest, store: Store, settings: Settings, *, data: bool = False) -> AsyncIterator[Replay]:
    """Give a `Replay` while the block runs. `data`: prepare the event's data, to evaluate on. Raises UserError."""
    host = WorkerHost(on_notice=lambda notice: None, on_ready=_ready, on_death=lambda name, why: None)
    with tempfile.TemporaryDirectory(prefix="collab-replay-") as folder:
        if not data:
            settings = settings.model_copy(update={"cache_dir": Path(folder)})
        try:
            with as_user_errors():
                await host.start(open_request(event, event.coordinator, Path(folder), settings, data=data))
                yield Replay(event, host, store)
        finally:
            await host.stop()


@contextmanager
def as_user_errors() -> Iterator[None]:
    """Turn what can go wrong in a replay into a UserError."""
    try:
        yield
    except RemoteFailure as failure:
        raise UserError(failure.text) from failure
    except Unavailable as error:
        raise UserError(f"this store lacks what a version is made of: {error}", _FETCH) from error
    except StateMismatch as error:
        raise UserError(f"the store is damaged: {error}", "`collab-node verify` says where") from error
    except ChannelClosed as error:
        raise UserError("the process that holds the weights ended; is there enough memory?") from error


async def _ready(worker: Worker, opened: messages.Opened) -> None:
    """A new worker has nothing to be brought back to."""


async def _offline(digest: bytes, size: int, peers: Sequence[str]) -> Path:
    raise NetworkError("it is not here")
