"""A node that is built but not connected."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from daemon.drivekit import EVENT, Bench
from daemon.kit import line
from rounds.worlds import identity

from collab.node.control.requests import requests
from collab.node.credit.leaderboard import Leaderboard
from collab.node.gates.sharing import Sharing
from collab.node.home import Home
from collab.node.metrics.metrics import Metrics
from collab.node.node import Node
from collab.node.options import NodeOptions
from collab.node.rounds.catch_up import restore_history
from collab.node.settings import Settings
from collab.node.store import Store
from collab.protocol.commit import Commit

CHAIN = line(4, EVENT)


class Desk:
    """A node whose worker and round are the driver bench's."""

    def __init__(self, folder: Path) -> None:
        self.bench = Bench(folder / "bench")
        self.bench.trains_at_once = False
        self.store = Store.open(folder / "store")
        options = NodeOptions(home=Home(folder / "home"), settings=Settings(host="127.0.0.1"), event=EVENT.digest)
        self.node = Node(options, identity(0), self.store, Metrics())
        self.requests = requests(self.node, self.node.stop)
        self.settled: list[int] = []
        self.losses: list[float | Exception] = [2.25]

    def make_ready(self) -> None:
        """Do what `learn` and `prepare` do, without a network and a worker."""
        fakes: Any = SimpleNamespace(
            host=SimpleNamespace(
                opened=SimpleNamespace(device="cpu", tokens_per_sample=16), use=self._use, supervisor=SimpleNamespace(alive=True)
            ),
            weights=SimpleNamespace(bring_to=self._bring_to, base=None),
            contributor=SimpleNamespace(settle=self._settle, unsettled_since=lambda: None, outstanding=list),
        )
        node = self.node
        node.event = EVENT
        node.history = restore_history(EVENT, self.store)
        node.leaderboard = Leaderboard(EVENT, self.store, node.receipts.needed_by)
        node.sharing = Sharing(identity(0), node.history, self.store, node.publish)
        node.host, node.weights, node.contributor = fakes.host, fakes.weights, fakes.contributor
        node.driver = self.bench.driver

    def take(self, *steps: Any) -> None:
        for commit, certificate in steps:
            self.node.history.add(commit, certificate)
            self.store.add_commit(commit, certificate)
        self.store.set_head(self.node.history.head.digest)

    async def _use(self, call: Any) -> Any:
        loss = self.losses.pop(0)
        if isinstance(loss, Exception):
            raise loss
        return SimpleNamespace(loss=loss)

    async def _bring_to(self, commit: Commit) -> None:
        await asyncio.sleep(0)

    async def _settle(self, commit: Commit) -> int:
        self.settled.append(commit.round)
        return 10


async def turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)
