"""Weights moved along real commits by the real trainer: from the seed, by replay, from snapshots, over forks and deaths."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from daemon.kit import Step, until
from daemon.workkit import Desk

from collab.node.history.fsck import fsck
from collab.node.processes.ipc import ChannelClosed
from collab.node.processes.worker_host import WorkerHost
from collab.node.rounds.fetching import Unavailable
from collab.node.rounds.weights import StateMismatch
from collab.node.store import behind
from collab.node.trainer import messages
from collab.protocol.commit import Commit
from collab.protocol.exchange import SnapshotOffer
from collab.protocol.messages import Blob
from collab.protocol.record import sha256


class World:
    """A maker with two real commits, and desks that have yet to get there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.desks: list[Desk] = []
        self.maker = self.desk("maker")
        self.steps: list[Step] = []

    def desk(self, name: str, *, host: WorkerHost | None = None, alone: bool = False) -> Desk:
        self.desks.append(Desk(self.folder, name, () if alone or not self.desks else self.desks[:1], host=host))
        return self.desks[-1]

    async def grow(self, rounds: int = 2) -> None:
        await self.maker.start()
        self.steps = [await self.maker.grow() for _ in range(rounds)]

    async def joined(self, name: str) -> Desk:
        """A desk that knows the commits and has no weights yet."""
        desk = self.desk(name)
        desk.take(*self.steps)
        await desk.start()
        return desk

    @property
    def head(self) -> Commit:
        return self.maker.history.head


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    torch.set_num_threads(1)
    made = World(tmp_path)
    yield made
    for desk in made.desks:
        desk.store.close()


async def state_of(desk: Desk) -> bytes:
    """The state hash of what the worker really holds."""
    path = desk.folder / f"{desk.name}.safetensors"
    return (await desk.host.use(lambda worker: worker.snapshot(str(path)))).state


async def test_the_first_weights_come_from_the_seed(world: World) -> None:
    desk = world.maker
    await desk.start()
    assert desk.weights.base is None
    await desk.weights.bring_to(desk.history.root)
    assert desk.weights.base == desk.history.root.digest
    assert await state_of(desk) == desk.event.start.state
    asked = len(desk.fake.worker.asked)
    await desk.weights.bring_to(desk.history.root)
    assert len(desk.fake.worker.asked) == asked


async def test_a_late_joiner_replays_and_ends_with_the_same_state_and_snapshot(world: World) -> None:
    await world.grow()
    desk = await world.joined("joiner")
    await desk.weights.bring_to(world.head)
    assert desk.weights.base == world.head.digest
    assert await state_of(desk) == world.head.state == await state_of(world.maker)
    assert desk.snapshot_blob(world.head) == world.maker.snapshot_blob(world.head)
    assert len(desk.fetched) == 2
    assert not list((world.folder / "joiner" / "store" / "partial").iterdir())


async def test_an_offered_snapshot_spares_the_replay(world: World) -> None:
    await world.grow(3)
    desk = await world.joined("joiner")
    second = world.steps[1][0]
    desk.offers.add(SnapshotOffer(commit=second.digest, blob=world.maker.snapshot_blob(second)), "peer")
    await desk.weights.bring_to(world.head)
    assert await state_of(desk) == world.head.state
    payload = world.head.contributions()[0][1].payload
    assert desk.fetched == [world.maker.snapshot_blob(second).sha256, payload.sha256]
    assert desk.snapshot_blob(second) == world.maker.snapshot_blob(second)


async def test_false_offers_are_dropped_and_the_next_is_used(world: World) -> None:
    await world.grow()
    desk = await world.joined("joiner")
    first_state = world.folder / "first"
    await desk.weights.bring_to(desk.history.root)
    await desk.host.use(lambda worker: worker.snapshot(str(first_state)))
    desk.weights.base = None
    garbage = world.maker.put(b"\xff" * 100)
    of_another = world.maker.put(first_state.read_bytes())
    absent = Blob(sha256=sha256(b"nowhere"), size=1000)
    right = world.maker.snapshot_blob(world.head)
    for at, blob in enumerate((garbage, of_another, absent, right)):
        desk.offers.add(SnapshotOffer(commit=world.head.digest, blob=blob), f"peer {at}")
    await desk.weights.bring_to(world.head)
    assert await state_of(desk) == world.head.state
    assert desk.offers.of(world.head.digest) == [right]
    assert desk.fetched == [garbage.sha256, of_another.sha256, right.sha256]
    assert not desk.store.blobs.has(garbage.sha256)
    assert not desk.store.blobs.has(of_another.sha256)


async def test_what_several_offer_comes_before_what_one_says_to_have_of_a_newer_commit(world: World) -> None:
    await world.grow(3)
    desk = await world.joined("joiner")
    second, newest = world.steps[1][0], world.head
    desk.offers.add(SnapshotOffer(commit=newest.digest, blob=Blob(sha256=sha256(b"never comes"), size=1000)), "liar")
    for peer in ("b", "c"):
        desk.offers.add(SnapshotOffer(commit=second.digest, blob=world.maker.snapshot_blob(second)), peer)
    await desk.weights.bring_to(newest)
    assert desk.fetched[0] == world.maker.snapshot_blob(second).sha256
    assert newest.digest in desk.offers  # nobody was asked for it


async def test_an_offer_too_large_for_the_model_is_not_fetched(world: World) -> None:
    await world.grow()
    desk = await world.joined("joiner")
    desk.offers.add(SnapshotOffer(commit=world.head.digest, blob=Blob(sha256=sha256(b"huge"), size=1 << 39)), "peer")
    await desk.weights.bring_to(world.head)
    assert await state_of(desk) == world.head.state
    assert len(desk.fetched) == 2
    assert world.head.digest not in desk.offers


async def test_a_false_offer_does_not_delete_what_was_here(world: World) -> None:
    await world.grow()
    desk = await world.joined("joiner")
    payload = world.steps[0][0].contributions()[0][1].payload
    desk.put(world.maker.store.blobs.read(payload.sha256) or b"")
    desk.offers.add(SnapshotOffer(commit=world.head.digest, blob=payload), "peer")
    await desk.weights.bring_to(world.head)
    assert desk.store.blobs.has(payload.sha256)


async def test_without_payloads_and_snapshots_the_weights_cannot_be_had(world: World) -> None:
    await world.grow()
    desk = world.desk("alone", alone=True)
    desk.take(*world.steps)
    await desk.start()
    with pytest.raises(Unavailable):
        await desk.weights.bring_to(world.head)
    assert desk.weights.base == desk.history.root.digest


@pytest.mark.parametrize("field", ["state", "clip"])
async def test_a_commit_that_lies_does_not_replay(world: World, field: str) -> None:
    await world.grow(1)
    desk = await world.joined("joiner")
    await desk.weights.bring_to(desk.history.root)
    true, _ = world.steps[0]
    if field == "state":
        lie = true.model_copy(update={"state": sha256(b"lie")})
    else:
        lie = true.model_copy(update={"accepted": (true.accepted[0].model_copy(update={"clip": 0.5}),)})
    desk.store.add_commit(lie)
    with pytest.raises(StateMismatch):
        await desk.weights.replay(lie)
    with pytest.raises(StateMismatch):
        await desk.weights.bring_to(lie)
    assert desk.weights.base == desk.history.root.digest
    await desk.weights.bring_to(true)
    assert await state_of(desk) == true.state


async def test_what_a_node_that_catches_up_has_yet_to_fetch_is_told_from_what_it_lost(world: World) -> None:
    await world.grow(3)
    desk = world.desk("joiner")
    first, second, third = (step[0].contributions()[0][1].payload for step in world.steps)
    behind.has_nothing(desk.store)
    desk.take(*world.steps)
    assert told(desk) == ["note: not fetched yet: 3 payloads of rounds 1 to 3"]
    kept = world.maker.store.blobs.read(third.sha256) or b""
    world.maker.store.blobs.delete(third.sha256)
    await desk.start()
    with pytest.raises(Unavailable):
        await desk.weights.bring_to(world.head)
    assert told(desk) == ["note: not fetched yet: 1 payload of round 3"]
    desk.store.blobs.delete(desk.snapshot_blob(world.steps[1][0]).sha256)
    for payload in (first, second):
        desk.store.blobs.delete(payload.sha256)
    assert [line.split(" ")[0] for line in told(desk)] == ["error:", "error:", "error:", "note:"]
    world.maker.put(kept)
    for payload in (first, second):
        desk.put(world.maker.store.blobs.read(payload.sha256) or b"")
    await desk.weights.bring_to(world.head)
    assert behind.first_pending(desk.store) is None
    desk.store.blobs.delete(third.sha256)
    assert [line.split(" ")[0] for line in told(desk)] == ["error:", "error:"]


def told(desk: Desk) -> list[str]:
    """What `fsck` says, without the sizes."""
    found = fsck(desk.event, desk.folder / desk.name / "store")
    return [finding.lines()[0].split(",")[0] for finding in found]


async def test_along_a_fork_the_weights_go_back_and_over(world: World) -> None:
    await world.grow(1)
    maker, root = world.maker, world.maker.history.root
    await maker.weights.bring_to(root)
    fork, proof = await maker.commit(root, [await maker.train(root, steps=6)])
    assert fork.digest != world.steps[0][0].digest
    maker.store.add_commit(fork, proof)
    await maker.weights.bring_to(fork)
    assert await state_of(maker) == fork.state
    await maker.host.use(lambda worker: worker.train(1, 12, max_steps=3))
    await maker.weights.bring_to(world.steps[0][0])
    assert await state_of(maker) == world.steps[0][0].state
    session = maker.fake.worker.service.session
    assert session.meter.steps == 0
    assert session.residual is not None


async def test_a_worker_that_was_started_again_is_brought_back(world: World) -> None:
    await world.grow()
    desk = await world.joined("joiner")
    await desk.weights.bring_to(world.head)
    await desk.start()
    assert desk.weights.base == world.head.digest
    assert await state_of(desk) == world.head.state


async def test_a_recovery_that_fails_is_made_good_by_the_next(world: World) -> None:
    await world.grow()
    desk = await world.joined("joiner")
    await desk.weights.bring_to(world.head)
    for blob in list(desk.store.blobs.digests()):
        if not desk.store.has_commit(blob):
            desk.store.blobs.delete(blob)
    desk.others = ()
    with pytest.raises(Unavailable):
        await desk.start()
    desk.others = [world.maker]
    await desk.start()
    assert desk.weights.base == world.head.digest
    assert await state_of(desk) == world.head.state


async def test_the_base_survives_the_process(world: World) -> None:
    await world.grow()
    world.maker.fake.worker.service.close()
    world.maker.weights.base = None
    await world.maker.start()
    assert world.maker.weights.base == world.head.digest
    assert "load" not in world.maker.fake.worker.asked
    assert "init" not in world.maker.fake.worker.asked


async def test_a_killed_worker_is_replaced_in_the_middle_of_a_replay(world: World) -> None:
    await world.grow()
    deaths: list[str] = []
    desk: Desk

    async def ready(worker: object, opened: messages.Opened) -> None:
        await desk.ready(worker, opened)  # type: ignore[arg-type]

    host = WorkerHost(on_notice=lambda notice: None, on_ready=ready, on_death=lambda name, why: deaths.append(why))
    desk = world.desk("joiner", host=host)
    desk.take(*world.steps)
    await desk.start()
    await desk.weights.bring_to(world.steps[0][0])
    running = asyncio.create_task(host.run())
    worker = host.supervisor.current
    assert worker is not None
    os.kill(worker.pid, signal.SIGSTOP)  # so that the merge is surely not done when the kill comes
    replay = asyncio.create_task(desk.weights.replay(world.head))
    await until(lambda: len(worker._child.channel._waiting) > 0)
    os.kill(worker.pid, signal.SIGKILL)
    await replay
    await desk.weights.adopt(world.head)
    assert await state_of(desk) == world.head.state
    assert len(deaths) == 1
    running.cancel()
    await asyncio.wait([running])
    await host.stop()
    with pytest.raises(ChannelClosed, match="stopped"):
        await host.use(lambda worker: worker.save())
    assert len(asyncio.all_tasks()) == 1
