"""What was trained becomes a claim, and what becomes of the claim: taken, refused, or orphaned by a death."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import torch
from daemon.workkit import Desk
from rounds.worlds import identity

from collab import kernels
from collab.node.processes.ipc import ChannelClosed
from collab.node.rounds.contributing import Contributor
from collab.protocol.commit import Commit, Rejected
from collab.protocol.messages import Contribution, Signed


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    torch.set_num_threads(1)
    made = Desk(tmp_path, "desk")
    await made.start()
    await made.weights.bring_to(made.history.root)
    yield made
    made.store.close()


def another_life(desk: Desk) -> Contributor:
    """A contributor of a new process on the same store."""
    return Contributor(desk.event, identity(0).peer_id, None, desk.store, desk.host)


def residual(desk: Desk) -> dict[str, torch.Tensor]:
    found = desk.fake.worker.service.session.residual
    assert found is not None
    return {name: tensor.clone() for name, tensor in found.items()}


def read(path: str) -> bytes:
    return Path(path).read_bytes()


def rose_by(desk: Desk, before: dict[str, torch.Tensor], claim: Contribution) -> bool:
    """Whether the residual has got back what the payload holds, and nothing else."""
    payload = desk.store.blobs.read(claim.payload.sha256)
    assert payload is not None
    held = kernels.decompress(payload, desk.fake.worker.service.session.layout)
    after = residual(desk)
    return all(torch.equal(after[name], before[name] + held[name]) for name in after)


def at_round(commit: Commit, round: int) -> Commit:
    """The head some rounds later, of which nothing but the round matters."""
    return commit.model_copy(update={"round": round, "accepted": ()})


async def test_a_claim_says_what_was_trained_and_its_payload_is_in_the_store(desk: Desk) -> None:
    root = desk.history.root
    claim = await desk.train(root)
    assert (claim.base, claim.round, claim.event) == (root.digest, 0, desk.event.digest)
    assert (claim.samples, claim.steps, claim.fisher, claim.admission) == (12, 3, None, None)
    assert desk.store.blobs.size(claim.payload.sha256) == claim.payload.size
    assert desk.outstanding == {claim.payload.sha256}
    assert desk.contributor.outstanding() == [claim]
    assert desk.contributor.unsettled_since() == 0


async def test_one_base_gets_one_claim(desk: Desk) -> None:
    root = desk.history.root
    claim = await desk.train(root)
    await desk.host.use(lambda worker: worker.train(0, 0, max_steps=6))
    assert await desk.contributor.contribute(root) == claim
    assert await another_life(desk).contribute(root) == claim


async def test_nothing_trained_is_nothing_to_say(desk: Desk) -> None:
    assert await desk.contributor.contribute(desk.history.root) is None
    assert desk.contributor.outstanding() == []
    assert desk.contributor.unsettled_since() is None


async def test_a_claim_outlives_the_process(desk: Desk) -> None:
    claim = await desk.train(desk.history.root)
    later = another_life(desk)
    assert later.outstanding() == [claim]
    step = await desk.commit(desk.history.root, [claim])
    assert await later.settle(step[0]) == 12
    assert another_life(desk).outstanding() == []


async def test_what_a_commit_took_is_settled_and_does_not_come_back(desk: Desk) -> None:
    claim = await desk.train(desk.history.root)
    step = await desk.commit(desk.history.root, [claim])
    before = residual(desk)
    assert await desk.contributor.settle(step[0]) == 12
    assert desk.outstanding == set()
    assert all(torch.equal(tensor, before[name]) for name, tensor in residual(desk).items())
    assert await desk.contributor.settle(step[0]) == 0


async def test_whoever_copies_a_payload_settles_nothing_of_ours(desk: Desk) -> None:
    claim = await desk.train(desk.history.root)
    step = await desk.commit(desk.history.root, [claim])
    copied = Signed.seal(identity(1), claim).encode()
    accepted = step[0].accepted[0].model_copy(update={"envelope": copied})
    assert await desk.contributor.settle(step[0].model_copy(update={"accepted": (accepted,)})) == 0
    assert desk.contributor.outstanding() == [claim]


async def test_what_no_commit_can_take_any_more_goes_back_into_the_residual(desk: Desk) -> None:
    claim = await desk.train(desk.history.root)
    before = residual(desk)
    root = desk.history.root
    step = await desk.commit(root, [claim])
    assert await desk.contributor.settle(at_round(step[0], 1)) == 0
    assert desk.contributor.outstanding() == [claim]
    assert await desk.contributor.settle(at_round(step[0], 2)) == 0
    assert desk.contributor.outstanding() == []
    assert desk.outstanding == set()
    assert rose_by(desk, before, claim)


async def test_a_claim_carries_receipts_until_one_is_merged(desk: Desk) -> None:
    donor = identity(9)
    desk.contributor._receipts.fetched(b"blob", {donor.peer_id: 70})
    desk.contributor._receipts.needed([b"blob"])
    claim = await desk.train(desk.history.root)
    assert claim.received == ((donor.public_key, 70),)
    later = another_life(desk)
    assert later._receipts.next(later.outstanding()) == ()
    step = await desk.commit(desk.history.root, [claim])
    refused = Rejected(envelope=step[0].accepted[0].envelope, reason="gate.poetry")
    await later.settle(step[0].model_copy(update={"accepted": (), "rejected": (refused,)}))
    assert later._receipts.next(later.outstanding()) == claim.received  # it said so in vain
    later._remember([claim])
    await later.settle(step[0])
    assert later._receipts.next(later.outstanding()) == another_life(desk)._receipts.next([]) == ()


async def test_a_claim_made_while_others_are_settled_is_not_forgotten(desk: Desk) -> None:
    old = await desk.train(desk.history.root)
    step = await desk.commit(desk.history.root, [old])
    desk.take(step)
    await desk.weights.adopt(step[0])
    go = asyncio.Event()
    settle = desk.fake.worker.settle

    async def slow(sha256: bytes, path: str = "", *, accepted: bool) -> None:
        await go.wait()
        await settle(sha256, path, accepted=accepted)

    desk.fake.worker.settle = slow  # type: ignore[method-assign]
    settling = asyncio.create_task(desk.contributor.settle(step[0]))
    await asyncio.sleep(0)
    new = await desk.train(step[0])
    go.set()
    assert await settling == 12
    assert desk.contributor.outstanding() == [new]


async def test_a_payload_that_nobody_heard_of_is_reclaimed(desk: Desk) -> None:
    await desk.host.use(lambda worker: worker.train(0, 0, max_steps=3))
    made = await desk.host.use(lambda worker: worker.compress())
    before = residual(desk)
    await desk.start()
    assert desk.outstanding == set()
    held = kernels.decompress(read(made.path), desk.fake.worker.service.session.layout)
    assert all(torch.equal(tensor, before[name] + held[name]) for name, tensor in residual(desk).items())


async def test_a_payload_that_was_moved_but_not_claimed_is_reclaimed_from_the_store(desk: Desk) -> None:
    await desk.host.use(lambda worker: worker.train(0, 0, max_steps=3))
    made = await desk.host.use(lambda worker: worker.compress())
    await desk.contributor._keep(made.path, made.sha256, made.size)
    assert desk.store.blobs.has(made.sha256)
    await desk.start()
    assert desk.outstanding == set()


async def test_a_payload_that_a_commit_took_is_not_reclaimed(desk: Desk) -> None:
    claim = await desk.train(desk.history.root)
    desk.take(await desk.commit(desk.history.root, [claim]))
    before = residual(desk)
    desk.contributor._remember([])  # it was settled, but the worker died before it saved that
    await desk.start()
    assert desk.outstanding == set()
    assert all(torch.equal(tensor, before[name]) for name, tensor in residual(desk).items())


async def test_a_claim_that_is_still_open_is_not_reclaimed(desk: Desk) -> None:
    claim = await desk.train(desk.history.root)
    await desk.start()
    assert desk.outstanding == {claim.payload.sha256}
    assert desk.contributor.outstanding() == [claim]


async def test_a_payload_that_is_lost_stops_no_start(desk: Desk) -> None:
    await desk.host.use(lambda worker: worker.train(0, 0, max_steps=3))
    made = await desk.host.use(lambda worker: worker.compress())
    os.unlink(made.path)
    await desk.start()
    assert desk.weights.base == desk.history.root.digest


async def test_a_worker_without_the_payload_stops_no_settling(desk: Desk) -> None:
    claim = await desk.train(desk.history.root)
    step = await desk.commit(desk.history.root, [claim])
    desk.fake.worker.service.session.outstanding.clear()
    assert await desk.contributor.settle(step[0]) == 12
    assert desk.contributor.outstanding() == []


async def test_a_worker_that_keeps_dying_leaves_the_claim_open(desk: Desk) -> None:
    claim = await desk.train(desk.history.root)
    step = await desk.commit(desk.history.root, [claim])

    async def dead(sha256: bytes, path: str = "", *, accepted: bool) -> None:
        raise ChannelClosed("gone")

    desk.fake.worker.settle = dead  # type: ignore[method-assign]
    with pytest.raises(ChannelClosed):
        await desk.contributor.settle(step[0])
    assert desk.contributor.outstanding() == [claim]
    with pytest.raises(ChannelClosed):
        await desk.contributor.settle(step[0])
