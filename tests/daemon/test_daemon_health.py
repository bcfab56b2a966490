"""What a node shows of its round, its network and its disk."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from daemon.drivekit import EVENT, Bench
from rounds.worlds import identity

from collab.node.metrics.metrics import Metrics
from collab.node.metrics.reading import folder_size, measure_disk, measure_health
from collab.node.metrics.swarm_stats import Spread, SwarmStats
from collab.node.net.errors import NetworkError
from collab.node.processes.ipc import ChannelClosed, RemoteFailure
from collab.node.rounds.evaluating import evaluate_commits
from collab.protocol.messages import Progress, Signed


async def for_a_while(work: Coroutine[Any, Any, None]) -> None:
    """Run what never ends until it waits."""
    task = asyncio.create_task(work)
    for _ in range(200):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


class Watched:
    """A node in a round whose worker is the driver bench's, and whose network is a few constants."""

    def __init__(self, folder: Path) -> None:
        self.bench = Bench(folder)
        self.bench.trains_at_once = False
        self.metrics = self.bench.metrics
        self.connections: int | Exception = 3
        network = SimpleNamespace(
            peers={"a": None, "b": None}, gossip_peers={"a"}, host=SimpleNamespace(banned={"c"}, connections=self._connections),
            gossip=SimpleNamespace(stats=self._stats), directory=SimpleNamespace(size=5),
        )  # fmt: skip
        self.node: Any = SimpleNamespace(
            driver=self.bench.driver, metrics=self.metrics, network=network, store=self.bench.store,
            parts={"p2pd": True, "dht": True, "sidecar": False, "worker": True},
            options=SimpleNamespace(folder=SimpleNamespace(store_path=folder), home=SimpleNamespace(path=folder)),
        )  # fmt: skip

    async def _connections(self) -> int:
        if isinstance(self.connections, Exception):
            raise self.connections
        return self.connections

    async def _stats(self) -> dict[str, Any]:
        return {"mesh": {"topic": 4}}

    def value(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


async def test_a_running_round_is_shown(watched: Watched) -> None:
    root = watched.bench.history.root
    run = asyncio.create_task(watched.bench.driver.run(root, train=True))
    await asyncio.sleep(0)
    progress = Progress(
        event=EVENT.digest, base=root.digest, round=0, samples=6, steps=2, loss=2.5, rate=3.0, trains=True, done=False, sequence=1
    )
    watched.bench.driver.deliver(Signed.seal(identity(1), progress))
    await for_a_while(measure_health(watched.node, 0.0))
    run.cancel()
    assert watched.value("collab_round_phase", phase="training") == 1
    assert watched.value("collab_round_phase", phase="voting") == 0
    assert watched.value("collab_round_limit_seconds") == EVENT.rounds.deadline + EVENT.rounds.collect + EVENT.rounds.view
    assert watched.value("collab_swarm_trainers") == 2
    assert watched.value("collab_swarm_round_samples") == 6
    assert watched.value("collab_swarm_trainer_loss_nats", quantile="0.5") == 2.5
    members, quorum = watched.value("collab_committee_members"), watched.value("collab_committee_quorum")
    assert members == quorum == watched.value("collab_committee_present") == 1
    assert (watched.value("collab_vote_epoch"), watched.value("collab_vote_view")) == (0, 0)


def test_what_trainers_said_last_stays_until_somebody_has_taken_a_step(watched: Watched) -> None:
    def loss() -> float | None:
        return watched.value("collab_swarm_trainer_loss_nats", quantile="0.5")

    swarm = watched.metrics.round.swarm
    swarm(SwarmStats.of([]))
    assert math.isnan(loss() or 0)
    for spread in (Spread(1.0, 2.0, 3.0), None):
        swarm(SwarmStats(trainers=2, samples=0, rate=0.0, rates=spread, losses=spread))
        assert loss() == 2.0


async def test_before_the_first_round_the_network_is_shown(watched: Watched) -> None:
    await for_a_while(measure_health(watched.node, 0.0))
    expected = {
        "collab_peers": 2, "collab_peers_banned": 1, "collab_gossip_peers": 1, "collab_gossip_mesh_peers": 4,
        "collab_dht_nodes": 5, "collab_peer_connections": 3,
    }  # fmt: skip
    assert {name: watched.value(name) for name in expected} == expected
    assert watched.value("collab_up", part="sidecar") == 0
    assert watched.value("collab_up", part="worker") == 1
    assert math.isnan(watched.value("collab_training_loss_nats") or 0)


async def test_a_p2pd_that_does_not_answer_stops_nothing(watched: Watched) -> None:
    watched.connections = NetworkError("p2pd is down")
    await for_a_while(measure_health(watched.node, 0.0))
    assert watched.value("collab_peer_connections") == 0
    assert watched.value("collab_dht_nodes") == 5


async def test_store_and_disk_are_shown(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    async def at_once(call: Any, *arguments: Any) -> Any:
        return call(*arguments)

    monkeypatch.setattr(asyncio, "to_thread", at_once)
    root = watched.bench.history.root
    watched.bench.store.set_head(watched.bench.store.add_commit(root))
    await for_a_while(measure_disk(watched.node, 0.0))
    assert 0 < (watched.value("collab_disk_free_bytes") or 0) <= (watched.value("collab_disk_size_bytes") or 0)
    assert watched.value("collab_store_size_bytes") == folder_size(watched.node.options.folder.store_path) > 0
    assert watched.value("collab_snapshot_round") == 0


def test_the_size_of_a_folder_is_that_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "one").write_bytes(bytes(1000))
    (tmp_path / "two").write_bytes(bytes(24))
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    assert folder_size(tmp_path) == 1024 + len(str(tmp_path / "nowhere"))
    assert folder_size(tmp_path / "nowhere") == 0


class Evaluator:
    """A node that is asked for its held-out loss, and what each asking ends in."""

    def __init__(self, every: int, *endings: Exception | None) -> None:
        self.options = SimpleNamespace(settings=SimpleNamespace(evaluate_every=every))
        self.history = SimpleNamespace(head=SimpleNamespace(round=0))
        self.metrics = Metrics()
        self.weights = SimpleNamespace(base=None)
        self.host = SimpleNamespace(use=self._use)
        self.rounds: list[int] = []
        self._endings = list(endings)

    async def _use(self, call: Any) -> Any:
        ending = self._endings.pop(0) if self._endings else None
        if ending is not None:
            raise ending
        self.rounds.append(self.history.head.round)
        self.history.head.round += 1
        return SimpleNamespace(loss=2.0)


@pytest.mark.parametrize(("every", "rounds"), [(0, []), (1, [0, 1, 2, 3])])
async def test_commits_are_evaluated_as_often_as_wanted(every: int, rounds: list[int]) -> None:
    node: Any = Evaluator(every)
    await for_a_while(evaluate_commits(node, 0.0))
    assert node.rounds[: len(rounds) or 1] == rounds


async def test_between_two_evaluations_lie_as_many_rounds_as_wanted() -> None:
    node: Any = Evaluator(3)
    watching = asyncio.create_task(evaluate_commits(node, 0.0))
    for round in range(9):
        node.history.head.round = round
        for _ in range(5):
            await asyncio.sleep(0)
    watching.cancel()
    assert node.rounds == [0, 3, 6]


async def test_a_failure_is_not_repeated_and_a_dead_worker_is_waited_for() -> None:
    node: Any = Evaluator(10, RemoteFailure("no_data", "no held-out block"))
    await for_a_while(evaluate_commits(node, 0.0))
    assert node.rounds == []
    node = Evaluator(10, ChannelClosed("died"), ChannelClosed("died"))
    await for_a_while(evaluate_commits(node, 0.0))
    assert node.rounds == [0]
