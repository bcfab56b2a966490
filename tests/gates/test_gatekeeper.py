"""Who is at fault: the search on groups whose verdicts are made up, and on real weights with a sign-flipped contribution."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest
import torch
from daemon.workkit import PARTS, ROUNDS, SEED, Desk
from gates.test_gates_verdict import measurement
from hypothesis import given, settings
from hypothesis import strategies as st
from rounds.worlds import contribution, event, identity, signed_contribution

from collab import kernels
from collab.kernels.merge import Contribution as MergeContribution
from collab.kernels.merge import merge
from collab.node.gates.gatekeeper import Failure, Gatekeeper
from collab.node.processes.ipc import RemoteFailure
from collab.node.rounds.weights import candidate_key
from collab.node.trainer import messages
from collab.node.trainer.start import first_state
from collab.protocol.ancestry import Ancestry
from collab.protocol.event import EventManifest, OuterOptimiser, Start
from collab.protocol.gates import LossGate, refusal_of
from collab.protocol.history import History
from collab.protocol.merging import Draft, Part, make_draft
from collab.protocol.messages import Signed
from collab.protocol.record import sha256

A = TypeVar("A")
Group = frozenset[str]
GATE = LossGate(name="held-out", kind="loss", path="text.txt", batch=16, tolerance=0.02)
MADE_UP = event(gate=(GATE,))
ROOT = History(MADE_UP)
ANCESTRY = ROOT.ancestry(ROOT.root.digest)
NAMES = {identity(number).peer_id: number for number in range(12)}


class MadeUp:
    """Weights and worker for a gate that a group of contributors fails where `fails` says so."""

    def __init__(self, fails: Callable[[frozenset[int]], bool]) -> None:
        self.asked: list[frozenset[int]] = []
        self.errors: list[RemoteFailure] = []
        self._fails = fails
        self._groups: dict[str, frozenset[int]] = {}
        weights: Any = SimpleNamespace(merge=self._merge, fetch=self._fetch)
        self.keeper = Gatekeeper(MADE_UP, weights, self)  # type: ignore[arg-type]

    async def _merge(self, base: bytes, merged: Sequence[Part], method: str, full: bool) -> messages.Merged:
        key = candidate_key(base, merged, method, full)
        self._groups[key] = frozenset(NAMES[part.signed.signer] for part in merged)
        return messages.Merged(state=sha256(key.encode()), norm=1.0, clips=())

    async def _fetch(self, merged: Sequence[Part]) -> None:
        """All of it is here."""

    async def use(self, call: Callable[[Any], Awaitable[A]]) -> A:
        return await call(SimpleNamespace(gate=self._gate))

    async def _gate(self, request: messages.RunGate) -> messages.GateRun:
        if self.errors:
            raise self.errors.pop()
        group = self._groups[request.candidate.key]
        self.asked.append(group)
        failed = self._fails(group)
        found = measurement(gate=GATE.name, passed=not failed, reason="worse" if failed else "no_worse", change=0.0)
        return messages.GateRun(measurement=found.encode(), data=bytes(32), hardware="")


def draft(numbers: Sequence[int], refused: Sequence[int] = ()) -> Draft:
    claims = {number: signed_contribution(MADE_UP, ROOT.root, number) for number in {*numbers, *refused}}
    return make_draft(
        MADE_UP, ANCESTRY, accepted=[(*claims[number], 1.0) for number in numbers],
        rejected=[(claims[number][0], refusal_of(GATE.name)) for number in refused], departed=[], certificate=None,
        proposer=identity(0).peer_id,
    )  # fmt: skip


async def settle(made: MadeUp, numbers: Sequence[int]) -> tuple[list[int], list[int]]:
    """Propose as the round machine does, until a candidate passes; return who is merged and who is refused."""
    left: list[int] = list(numbers)
    refused: list[int] = []
    envelopes = {signed_contribution(MADE_UP, ROOT.root, number)[0].digest: number for number in numbers}
    while (failure := await made.keeper.find_failure(draft(left, refused), ANCESTRY)) is not None:
        assert failure.at_fault
        refused += [envelopes[digest] for digest in failure.at_fault]
        left = [number for number in left if number not in refused]
    return left, refused


@pytest.mark.parametrize("bad", [{3}, {0, 7}, {1, 2, 3}, set(range(8))])
async def test_who_spoils_every_group_is_found_in_few_steps(bad: set[int]) -> None:
    made = MadeUp(lambda group: bool(group & bad))
    left, refused = await settle(made, range(8))
    assert (set(left), set(refused)) == (set(range(8)) - bad, bad)
    assert len(made.asked) <= 2 + 2 * len(bad) * math.log2(8)


async def test_who_is_hidden_by_the_halves_is_tried_alone() -> None:
    made = MadeUp(lambda group: group == {5} or len(group) == 8)
    assert (await settle(made, range(8)))[1] == [5]


async def test_who_fails_together_only_is_left_out_together() -> None:
    made = MadeUp(lambda group: len(group) >= 3)
    left, refused = await settle(made, range(4))
    assert (left, sorted(refused)) == ([], [0, 1, 2, 3])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 9), st.floats(0.05, 0.95))
async def test_whatever_a_gate_says_others_who_measure_the_same_uphold_every_refusal(seed: int, size: int, share: float) -> None:
    def fails(group: frozenset[int]) -> bool:
        return hashlib.sha256(f"{seed} {sorted(group)}".encode()).digest()[0] < 256 * share

    left, refused = await settle(MadeUp(fails), range(size))
    assert sorted(left + refused) == list(range(size))
    commit = draft(left, refused).complete(bytes(32), 1)
    checking = MadeUp(fails)
    assert await checking.keeper.upheld(commit, ANCESTRY) == {signed.digest for signed, _ in commit.failed_gates()}
    assert await checking.keeper.failed_gate(commit, ANCESTRY) is None


async def test_a_false_refusal_is_not_upheld() -> None:
    commit = draft([0, 1], [2, 3]).complete(bytes(32), 1)
    upheld = await MadeUp(lambda group: 3 in group and len(group) == 1).keeper.upheld(commit, ANCESTRY)
    assert upheld == {signed_contribution(MADE_UP, ROOT.root, 3)[0].digest}


async def test_a_candidate_that_a_dead_worker_took_along_is_merged_again() -> None:
    made = MadeUp(lambda group: False)
    made.errors = [RemoteFailure("unknown_candidate", "gone")]
    assert await made.keeper.find_failure(draft([0]), ANCESTRY) is None
    made.errors = [RemoteFailure("no_data", "the file is gone")]
    assert await made.keeper.failed_gate(draft([0]).complete(bytes(32), 1), ANCESTRY) == GATE.name


async def test_a_commit_without_contributions_needs_no_gate() -> None:
    made = MadeUp(lambda group: True)
    assert await made.keeper.find_failure(draft([], [1]), ANCESTRY) is None
    assert await made.keeper.failed_gate(draft([], [1]).complete(bytes(32), 1), ANCESTRY) is None
    assert made.asked == []


# Real weights


def real_event() -> EventManifest:
    parts = {**PARTS, "outer": OuterOptimiser(rate=1.0), "gate": (GATE,)}
    state = first_state(event(ROUNDS, **parts), seed=SEED).hash()
    return event(ROUNDS, **parts, start=Start(state=state, seed=SEED))


async def trained(desk: Desk) -> tuple[kernels.Layout, dict[str, torch.Tensor]]:
    """An honest update, as it is after it was sent."""
    claim = await desk.train(desk.history.root, 3)
    payload = desk.store.blobs.read(claim.payload.sha256)
    assert payload is not None
    layout = desk.fake.worker.service.session.layout
    return layout, merge("average", layout, [MergeContribution(payload, 1.0)], cap=1.0, damping=0.1)


async def test_a_sign_flipped_contribution_is_found_among_honest_ones(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    desk = Desk(tmp_path, "one", event=real_event())
    await desk.start()
    root = desk.history.root
    await desk.weights.bring_to(root)
    _, update = await trained(desk)
    claims = []
    for number in range(4):
        factor = -2.2 if number == 2 else 0.3 + number / 30
        payload, _ = kernels.compress({name: factor * value for name, value in update.items()}, None, kernels.Codec(kind="fp16"))
        claim = contribution(desk.event, root, b"", steps=3, payload=desk.put(payload))
        claims.append((Signed.seal(identity(number), claim), claim))
    keeper = Gatekeeper(desk.event, desk.weights, desk.host)
    ancestry = Ancestry([root])

    def commit_of(merged: Sequence[int], refused: Sequence[int]) -> Draft:
        return make_draft(
            desk.event, ancestry, accepted=[(*claims[number], 1.0) for number in merged],
            rejected=[(claims[number][0], refusal_of(GATE.name)) for number in refused], departed=[], certificate=None,
            proposer=identity(0).peer_id,
        )  # fmt: skip

    failure = await keeper.find_failure(commit_of(range(4), ()), ancestry)
    assert failure is not None
    assert failure == Failure("held-out", frozenset({claims[2][0].digest}))
    assert await keeper.find_failure(commit_of([0, 1, 3], [2]), ancestry) is None
    other = Gatekeeper(desk.event, desk.weights, desk.host)
    accused = commit_of([0, 1], [2, 3]).complete(bytes(32), 1)
    assert await other.upheld(accused, ancestry) == {claims[2][0].digest}
    assert await other.failed_gate(commit_of(range(4), ()).complete(bytes(32), 1), ancestry) == "held-out"
    desk.store.close()


async def test_a_round_that_merges_nothing_keeps_the_weights_and_goes_on(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    desk = Desk(tmp_path, "one", event=real_event())
    await desk.start()
    root = desk.history.root
    await desk.weights.bring_to(root)
    claim = await desk.train(root)
    signed = Signed.seal(identity(0), claim)
    made = make_draft(
        desk.event, Ancestry([root]), accepted=[], rejected=[(signed, refusal_of(GATE.name))], departed=[], certificate=None,
        proposer=identity(0).peer_id,
    )  # fmt: skip
    merged = await desk.weights.merge(root.state, made.parts, "sparse-average", False)
    assert (merged.state, merged.norm, merged.clips) == (root.state, 0.0, ())
    commit = made.complete(merged.state, 1)
    desk.store.add_commit(commit)
    await desk.weights.replay(commit)
    await desk.weights.adopt(commit)
    assert await desk.contributor.settle(commit) == 0
    assert desk.outstanding == set()  # and nothing of it comes back: what was refused is no residual
    assert desk.contributor.outstanding() == []
    local = desk.fake.worker.service.session.local()
    assert all(torch.equal(local[name], weight) for name, weight in first_state(desk.event, seed=SEED).weights.items())
    desk.store.close()
