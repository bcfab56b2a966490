"""The real trainer on a tiny event, in this process or in its own, behind real weights, contributions, stores and commits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

from daemon.kit import Step
from rounds.worlds import event, finality, identity

from collab.node.metrics.metrics import Metrics
from collab.node.net.errors import NetworkError
from collab.node.processes.ipc import RemoteFailure
from collab.node.processes.worker_host import WorkerHost
from collab.node.rounds.contributing import Contributor
from collab.node.rounds.fetching import Fetcher
from collab.node.rounds.offers import SnapshotOffers
from collab.node.rounds.weights import Weights
from collab.node.store import Store
from collab.node.trainer import messages
from collab.node.trainer.client import Worker
from collab.node.trainer.errors import WorkerError
from collab.node.trainer.service import Service
from collab.node.trainer.start import first_state
from collab.protocol.commit import Commit
from collab.protocol.event import Data, EventManifest, GptModel, InnerOptimiser, OuterOptimiser, Rounds, Start
from collab.protocol.history import History
from collab.protocol.merging import make_draft
from collab.protocol.messages import Blob, Contribution, Signed
from collab.protocol.record import sha256

A = TypeVar("A")
SEED = 1
PARTS: dict[str, Any] = {
    "model": GptModel(family="gpt", layers=1, width=32, heads=2),
    "data": Data(source="text", path="text.txt", block=16, held_out=0.1, held_out_samples=8),
    "inner": InnerOptimiser(batch=4, steps=3, rate=1e-2, total_samples=1000),
    "outer": OuterOptimiser(rate=1.0),
}
ROUNDS = Rounds(snapshot_every=2, max_staleness=1)


@cache
def tiny_event() -> EventManifest:
    """An event whose first state is that of its seed."""
    draft = event(ROUNDS, **PARTS)
    state = first_state(draft, seed=SEED).hash()
    return event(ROUNDS, **PARTS, start=Start(state=state, seed=SEED))


def write_data(folder: Path) -> None:
    """Write the event's text."""
    folder.mkdir(exist_ok=True)
    words = ["merge", "round", "patch", "commit", "swarm", "peer", "weight", "replay"]
    lines = (" ".join(words[(line * 7 + at * at) % 8] for at in range(12)) for line in range(200))
    (folder / "text.txt").write_text("\n\n".join(lines))


class InProcess(Worker):
    """The client's methods on a service in this process; a training runs to its end before it is answered."""

    def __init__(self) -> None:
        self.notices: list[messages.Notice] = []
        self.service = Service(self.notices.append)
        self.asked: list[str] = []

    async def _ask(self, request: messages.Request, answer: type[A]) -> A:
        self.asked.append(request.OP)
        try:
            found = self.service.handle(request.OP, request.model_dump())
        except WorkerError as error:
            raise RemoteFailure(error.code, error.text) from error
        while self.service.training:
            self.service.step()
        assert isinstance(found, answer)
        return found


class InProcessHost:
    """`WorkerHost` without a process: `start` again is a restart."""

    def __init__(self, on_ready: Callable[[Worker, messages.Opened], Awaitable[None]]) -> None:
        self._on_ready = on_ready
        self.worker = InProcess()

    async def start(self, request: messages.Open) -> None:
        self.worker = InProcess()
        self.opened = await self.worker.open(request)
        await self._on_ready(self.worker, self.opened)

    async def use(self, call: Callable[[Worker], Awaitable[A]]) -> A:
        return await call(self.worker)


class Desk:
    """What a node has for its weights: store, history, worker, weights, contributor. `others` are where it fetches from."""

    def __init__(
        self, folder: Path, name: str, others: Sequence[Desk] = (), *, host: WorkerHost | None = None,
        event: EventManifest | None = None,
    ) -> None:  # fmt: skip
        self.event = event or tiny_event()
        self.others = others
        self.folder = folder
        self.name = name
        self.store = Store.open(folder / name / "store")
        self.history = History(self.event)
        self.store.set_head(self.store.add_commit(self.history.root))
        self.fake = InProcessHost(self.ready)
        self.host = host or cast(WorkerHost, self.fake)
        self.fetched: list[bytes] = []
        self.offers = SnapshotOffers()
        fetcher = Fetcher(self.store.blobs, self._download, lambda: ())
        self.weights = Weights(self.event, self.host, self.store, fetcher, self.offers, Metrics())
        self.contributor = Contributor(self.event, identity(0).peer_id, None, self.store, self.host)

    async def ready(self, worker: Worker, opened: messages.Opened) -> None:
        """Do what the node does with a new worker."""
        await self.weights.recover(worker, opened)
        if opened.restored is not None:
            await self.contributor.reclaim(worker, opened.restored)

    async def start(self) -> None:
        """Start the worker, or start it again."""
        await self.host.start(self.request())

    def request(self) -> messages.Open:
        """How the worker is opened."""
        write_data(self.folder / "data")
        work = self.folder / self.name / "worker"
        work.mkdir(parents=True, exist_ok=True)
        return messages.Open(
            manifest=self.event.encode(), peer_id=identity(0).peer_id, work_dir=str(work), data_dir=str(self.folder / "data"),
            cache_dir=str(self.folder / "cache"), device="cpu", threads=1,
        )  # fmt: skip

    async def _download(self, digest: bytes, size: int, peers: Sequence[str]) -> Path:
        for other in self.others:
            data = other.store.blobs.read(digest)
            if data is not None and len(data) == size:
                self.fetched.append(digest)
                return self.store.blobs.path(self.store.blobs.put_bytes(data))
        raise NetworkError("nobody has it")

    async def train(self, base: Commit, steps: int = 3) -> Contribution:
        """Train on a commit until the round has so many steps, and contribute."""
        await self.host.use(lambda worker: worker.train(base.round, base.samples, max_steps=steps))
        claim = await self.contributor.contribute(base)
        assert claim is not None
        return claim

    def signed(self, claim: Contribution, number: int = 0) -> tuple[Signed, Contribution, float]:
        """A contribution as a draft takes it."""
        return Signed.seal(identity(number), claim), claim, 1.0

    async def commit(self, base: Commit, claims: Sequence[Contribution], epoch: int = 0) -> Step:
        """Merge contributions into a final commit on `base`, which is the weights' base."""
        ancestry = self.history.ancestry(base.digest)
        draft = make_draft(
            self.event, ancestry, accepted=[self.signed(claim) for claim in claims], rejected=[], departed=[],
            certificate=self.history.certificate(base.digest), proposer=identity(0).peer_id,
        )  # fmt: skip
        merged = await self.weights.merge(base.state, draft.parts, draft.commit.round_method, draft.commit.full)
        commit = draft.complete(merged.state, 7)
        return commit, finality(self.event, base, commit, epoch)

    def take(self, *steps: Step) -> None:
        """Put final commits into history and store."""
        for commit, certificate in steps:
            self.history.add(commit, certificate)
            self.store.add_commit(commit, certificate)
        self.store.set_head(self.history.head.digest)

    async def grow(self) -> Step:
        """One whole round of one node."""
        base = self.history.head
        await self.weights.bring_to(base)
        step = await self.commit(base, [await self.train(base)])
        self.take(step)
        await self.weights.adopt(step[0])
        await self.contributor.settle(step[0])
        return step

    def snapshot_blob(self, commit: Commit) -> Blob:
        """The snapshot of a commit in the store."""
        digest = self.store.snapshot_of(commit.digest)
        assert digest is not None
        size = self.store.blobs.size(digest)
        assert size is not None
        return Blob(sha256=digest, size=size)

    def put(self, data: bytes) -> Blob:
        """Keep some bytes as a blob."""
        self.store.blobs.put_bytes(data)
        return Blob(sha256=sha256(data), size=len(data))

    @property
    def outstanding(self) -> set[bytes]:
        """What the in-process worker takes for not settled."""
        return self.fake.worker.service.session.outstanding
