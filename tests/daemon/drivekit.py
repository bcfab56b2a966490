"""A round driver whose worker, weights and network are small classes: the round machine, history and store are real."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

from rounds.worlds import contribution, event, identity

from collab.node.metrics.metrics import Metrics
from collab.node.rounds.driver import RoundDriver
from collab.node.rounds.tools import RoundTools
from collab.node.store import Store
from collab.node.trainer import messages
from collab.protocol.commit import Commit
from collab.protocol.event import Rounds
from collab.protocol.history import History
from collab.protocol.messages import Blob, Contribution, Signed
from collab.protocol.record import sha256

EVENT = event(Rounds(deadline=600.0, collect=0.5, view=30.0))
A = TypeVar("A")


def trained(round: int, *, done: bool = True) -> messages.Progress:
    """A notice of the worker: all ten steps of a round, or the first of them."""
    steps = 10 if done else 1
    kind = messages.Trained if done else messages.Progress
    return kind(round=round, steps=steps, samples=2 * steps, position=0, loss=2.5, rate=1e-3, tokens_per_second=100.0)


class Bench:
    """A driver for identity 0, who coordinates alone. `done` lists what it did to the outside, in order."""

    def __init__(self, folder: Path) -> None:
        self.done: list[str] = []
        self.sent: list[Signed] = []
        self.faults: list[tuple[str, str]] = []
        self.metrics = Metrics()
        self.history = History(EVENT)
        self.store = Store.open(folder)
        self.store.set_head(self.store.add_commit(self.history.root))
        self.trains_at_once = True
        self.ask: Callable[[str], Awaitable[bool]] = self._nothing_new
        self.merge: Callable[[], Awaitable[bytes]] = self._merged
        self.contribute: Callable[[Commit], Awaitable[Contribution | None]] = self._contribution
        self.stale: list[Contribution] = []
        self._note_persisting()
        self.driver = RoundDriver(self._tools())

    def _tools(self) -> RoundTools:
        fakes: Any = SimpleNamespace(
            weights=SimpleNamespace(merge=self._merge, replay=self._replay),
            host=SimpleNamespace(use=self._use, opened=SimpleNamespace(tokens_per_sample=16)),
            contributor=SimpleNamespace(contribute=self._contribute, outstanding=lambda: list(self.stale)),
            fetcher=SimpleNamespace(fetch=self._fetch),
            catch_up=SimpleNamespace(ask=lambda peer: self.ask(peer)),
        )
        return RoundTools(
            event=EVENT, identity=identity(0), history=self.history, store=self.store, weights=fakes.weights, host=fakes.host,
            contributor=fakes.contributor, fetcher=fakes.fetcher, catch_up=fakes.catch_up, metrics=self.metrics,
            publish=self._publish, on_fault=lambda peer, reason: self.faults.append((peer, reason)),
            payload_limit=lambda event: 5000, require_amendment=self._require,
        )  # fmt: skip

    async def _require(self, named: bytes | None, peer: str) -> None:
        self.done.append(f"ask {peer} for an amendment")

    def refused(self, reason: str) -> float:
        """How often the metrics counted a refusal."""
        return self.metrics.registry.get_sample_value("collab_contributions_refused_total", {"reason": reason}) or 0.0

    def kinds(self) -> list[str]:
        """What was sent, progress left out."""
        return [signed.kind for signed in self.sent if signed.kind != "progress"]

    # The worker

    async def _use(self, call: Callable[[Any], Awaitable[A]]) -> A:
        await asyncio.sleep(0)
        return await call(SimpleNamespace(train=self._train, inspect=self._inspect))

    async def _train(self, round: int, base_samples: int, *, peers: int, max_steps: int) -> None:
        self.done.append(f"train {round} from {base_samples} with {peers}")
        if self.trains_at_once:
            self.driver.notice(trained(round))

    async def _inspect(self, path: str, fisher: str | None, *, full: bool) -> messages.Inspected:
        self.done.append("inspect")
        return messages.Inspected(ok=True, norm=1.0)

    # The other tools

    async def _merge(self, base: bytes, parts: Sequence[object], method: str, full: bool) -> messages.Merged:
        self.done.append(f"merge {len(parts)}")
        return messages.Merged(state=await self.merge(), norm=1.0, clips=(1.0,) * len(parts))

    async def _merged(self) -> bytes:
        return sha256(b"merged")

    async def _replay(self, commit: Commit) -> None:
        self.done.append("replay")

    async def _contribute(self, base: Commit) -> Contribution | None:
        self.done.append("contribute")
        return await self.contribute(base)

    async def _contribution(self, base: Commit) -> Contribution:
        return contribution(EVENT, base, b"ours")

    async def _fetch(self, blob: Blob, sources: Sequence[str]) -> Path:
        return self.store.blobs.path(blob.sha256)

    async def _nothing_new(self, peer: str) -> bool:
        self.done.append(f"ask {peer}")
        return False

    async def _publish(self, signed: Signed) -> None:
        self.sent.append(signed)
        if signed.kind != "progress":
            self.done.append(f"send {signed.kind}")

    def _note_persisting(self) -> None:
        save, put = self.store.save_voting, self.store.blobs.put_bytes

        def save_voting(base: bytes, state: bytes) -> None:
            self.done.append("persist")
            save(base, state)

        def put_bytes(data: bytes | memoryview) -> bytes:
            self.done.append("keep")
            return put(data)

        self.store.save_voting = save_voting  # type: ignore[method-assign]
        self.store.blobs.put_bytes = put_bytes  # type: ignore[method-assign]
