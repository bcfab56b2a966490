"""Gates inside rounds: over the fake network with the real machines, and rule by rule."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest
from rounds.fakenet import Faults, Net, Node
from rounds.test_machine import Bench, of, reasons, started, votes
from rounds.worlds import event, identity, signed_contribution

from collab.protocol.ancestry import Ancestry
from collab.protocol.commit import Commit
from collab.protocol.errors import LocalProtocolError, RemoteProtocolError
from collab.protocol.event import Rounds
from collab.protocol.gates import Case, ExactGate, LossGate, relaxed
from collab.protocol.merging import claim_problem, make_draft, verify_commit
from collab.protocol.messages import Blob, Proposal, Signed
from collab.protocol.record import sha256
from collab.protocol.rounds import effects as do

GATE = LossGate(name="held-out", kind="loss")
REASON = "gate.held-out"
GOOD, BAD = -1.0, 1000.0
"""How much worse than the gate tolerates."""


# Swarms


def swarm(size: int, bad: Collection[int], *, seed: int = 0, faults: Faults | None = None, **rounds: Any) -> Net:
    """Nodes in an event with a gate, which the contributions of the `bad` fail wherever it runs."""
    setting = Rounds(**({"deadline": 60.0, "collect": 5.0, "view": 4.0} | rounds))
    net = Net(event(setting, gate=(GATE,)), [identity(number) for number in range(size)], seed=seed, faults=faults)
    names = {identity(number).peer_id for number in bad}
    net.worsening = lambda node, contributor: BAD if contributor in names else GOOD
    for node in net:
        net.at(net.random.uniform(0.0, 0.5), node.boot)
    return net


def reach(net: Net, round: int, limit: float = 2000.0) -> list[Commit]:
    """Let time pass until everybody is there; return the chain, which is everybody's."""
    net.run(lambda: min(net.rounds()) >= round, limit)
    chains = [node.history.chain(node.history.root.digest, node.history.head.digest)[:round] for node in net if node.alive]
    assert all(chain == chains[0] for chain in chains)
    return list(chains[0])


def accepted(commit: Commit) -> set[str]:
    return {signed.signer for signed, _ in commit.contributions()}


@pytest.mark.parametrize(
    ("seed", "faults"), [(0, Faults()), (1, Faults(delay=(0.01, 1.0), loss=0.15, duplicates=0.2)), (2, Faults(loss=0.1))]
)
def test_who_fails_the_gate_is_left_out_with_the_reason_and_the_others_go_on(seed: int, faults: Faults) -> None:
    net = swarm(7, bad=(2, 5), seed=seed, faults=faults)
    chain = reach(net, 5)
    bad = {identity(number).peer_id for number in (2, 5)}
    for commit in chain:
        assert not accepted(commit) & bad
        assert {rejected.reason for rejected in commit.rejected} <= {REASON}
    refused = {signed.signer for commit in chain for signed, _ in commit.failed_gates()}
    assert refused == bad


def test_a_round_whose_contributions_all_fail_ends_without_a_change() -> None:
    net = swarm(4, bad=range(4))
    chain = reach(net, 3)
    for commit in chain:
        assert not commit.accepted
        assert commit.loss is None
        assert {rejected.reason for rejected in commit.rejected} == {REASON}
    assert chain[-1].samples == 0


def test_a_proposer_who_does_not_run_the_gate_gets_no_votes() -> None:
    net = swarm(4, bad=(1,))
    careless = identity(0).peer_id
    names = {identity(1).peer_id}
    net.worsening = lambda node, contributor: BAD if contributor in names and node.peer_id != careless else GOOD
    for commit in reach(net, 6)[1:]:  # in the first rounds the coordinator is alone on the roster
        assert commit.proposer != careless or not accepted(commit) & names


def test_a_false_accusation_is_not_upheld() -> None:
    net = swarm(4, bad=())
    liar, victim = identity(1).peer_id, identity(2).peer_id  # the coordinator, alone in the first round, is honest
    net.worsening = lambda node, contributor: BAD if node.peer_id == liar and contributor == victim else GOOD
    chain = reach(net, 8)
    assert len(chain[1].roster) == 4
    assert not any(commit.failed_gates() for commit in chain)


def test_a_member_that_measures_otherwise_does_not_stop_the_rest() -> None:
    net = swarm(7, bad=())
    odd = identity(6).peer_id
    net.worsening = lambda node, contributor: BAD if node.peer_id == odd else GOOD
    chain = reach(net, 5)
    assert any(len(commit.accepted) == 7 for commit in chain)


@pytest.mark.parametrize("seed", range(4))
def test_members_that_differ_about_what_is_close_find_each_other_all_the_same(seed: int) -> None:
    net = swarm(7, bad=(), seed=seed, faults=Faults(loss=0.05))
    close, bad = {identity(number).peer_id for number in range(6)}, identity(6).peer_id

    def worsening(node: Node, contributor: str) -> float:
        noise = sha256(f"{seed} {node.peer_id} {contributor} {node.history.head.round}".encode())[0] / 256 - 0.5
        return 1 + 0.2 * noise if contributor in close else BAD  # half of the members find it too much, the other half not

    net.worsening = worsening
    chain = reach(net, 4, limit=2000.0)
    assert not any(bad in accepted(commit) for commit in chain)


def test_proposers_that_crash_while_they_look_for_who_is_at_fault() -> None:
    net = swarm(7, bad=(3,), seed=4)
    reach(net, 1)

    def build(effect: do.Effect) -> bool:
        return isinstance(effect, do.BuildCommit | do.CheckRefusals) and net.random.random() < 0.3

    def come_back(node: Node) -> None:
        node.wake()
        net.at(net.now + 10.0, lambda: come_back(node))

    for node in net:
        node.crash_on = build
        come_back(node)
    net.run(lambda: max(net.rounds(), default=0) >= 4, 3000.0)
    for node in net:
        node.crash_on = lambda effect: False
    chain = reach(net, 6)
    assert not any(identity(3).peer_id in accepted(commit) for commit in chain)


# The machine


def gated(place: int = 1) -> Bench:
    return started(place, manifest=event(gate=(GATE,)))


def collect(bench: Bench) -> list[do.Effect]:
    """Everybody contributes, this node last."""
    effects = [effect for number in bench.order if number != bench.me for effect in bench.claim(number)]
    return effects + bench.contribute()


def test_a_failed_gate_leads_to_a_draft_without_who_is_at_fault() -> None:
    bench = gated(0)
    (build,) = of(collect(bench), do.BuildCommit)
    culprit = next(part for part in build.draft.parts if part.signed.signer != identity(bench.me).peer_id)
    effects = bench.machine.failed_gate(build.draft.key, [culprit.signed.digest], REASON, 8.0)
    assert reasons(effects) == ["gate"]
    (again,) = of(effects, do.BuildCommit)
    assert culprit.signed.signer not in accepted(again.draft.commit)
    assert [signed.signer for signed, _ in again.draft.commit.failed_gates()] == [culprit.signed.signer]
    assert not of(bench.machine.failed_gate(build.draft.key, [culprit.signed.digest], REASON, 8.0), do.BuildCommit)  # of the past
    with pytest.raises(LocalProtocolError, match="nobody is at fault"):
        bench.machine.failed_gate(again.draft.key, [], REASON, 9.0)


def refusing(bench: Bench, reason: str = REASON) -> tuple[Commit, Signed]:
    """A proposal that leaves out the contribution of the last in order."""
    ancestry = bench.history.ancestry(bench.base.digest)
    claims = [signed_contribution(bench.event, bench.base, number) for number in bench.order]
    draft = make_draft(
        bench.event, ancestry, accepted=[(*claim, 1.0) for claim in claims[:-1]], rejected=[(claims[-1][0], reason)],
        departed=[], certificate=bench.history.certificate(bench.base.digest), proposer=identity(bench.order[0]).peer_id,
    )  # fmt: skip
    return draft.complete(bytes(32), 2), claims[-1][0]


def propose(bench: Bench, commit: Commit) -> list[do.Effect]:
    blob = Blob(sha256=commit.digest, size=len(commit.encode()))
    event_id, base = bench.event.digest, bench.base.digest
    proposal = Proposal(event=event_id, base=base, epoch=0, view=0, commit=blob, proof=None)
    return bench.hear(bench.order[0], proposal, 10.0) + bench.machine.commit_fetched(commit, 10.0)


@pytest.mark.parametrize("is_right", [True, False])
def test_a_refusal_is_checked_before_the_vote(is_right: bool) -> None:
    bench = gated()
    collect(bench)
    commit, refused = refusing(bench)
    effects = propose(bench, commit)
    assert of(effects, do.CheckRefusals) == [do.CheckRefusals(commit)]
    assert votes(bench.machine.replayed(commit.digest, None, 10.5)) == []  # not yet
    upheld = frozenset([refused.digest]) if is_right else frozenset()
    effects = bench.machine.refusals_checked(commit.digest, upheld, 11.0)
    assert votes(effects) == [("prevote", commit.digest if is_right else None)]
    assert reasons(effects) == ([] if is_right else ["disputed"])


def test_a_candidate_that_fails_here_is_prevoted_against_but_does_not_block_a_quorum() -> None:
    bench = gated()
    collect(bench)
    commit = bench.commit(bench.order, bench.order[0])
    propose(bench, commit)
    effects = bench.machine.replayed(commit.digest, REASON, 10.5)
    assert votes(effects) == [("prevote", None)]
    assert reasons(effects) == ["gate"]
    others = [number for number in bench.order if number != bench.me]
    effects = [effect for number in others for effect in bench.attest(number, "prevote", commit.digest, now=11.0)]
    assert ("precommit", commit.digest) in votes(effects)


def test_patience_doubles_a_tolerance_and_begins_one_that_is_nothing() -> None:
    assert [relaxed(GATE, patience).tolerance for patience in range(4)] == pytest.approx([0.01, 0.02, 0.04, 0.08])
    assert relaxed(GATE, 0) is GATE
    exact = ExactGate(name="words", kind="exact", cases=(Case(input="a", output="b"),) * 4)
    assert [relaxed(exact, patience).tolerance for patience in range(4)] == [0.0, 0.25, 0.75, 1.0]
    assert relaxed(LossGate(name="g", kind="loss", tolerance=0.0), 1).tolerance == 1e-3
    assert relaxed(GATE, 10_000).tolerance == 1e6


# What a commit may say


def verified(commit: Commit, bench: Bench) -> None:
    verify_commit(bench.event, bench.history.ancestry(bench.base.digest), commit)


def test_only_a_gate_of_the_event_refuses() -> None:
    bench = gated()
    verified(refusing(bench)[0], bench)
    with pytest.raises(RemoteProtocolError, match="which the event does not have"):
        verified(refusing(bench, "gate.other")[0], bench)
    without = started()
    with pytest.raises(RemoteProtocolError, match="which the event does not have"):
        verified(refusing(without)[0], without)


def test_nothing_is_merged_only_where_a_gate_refused() -> None:
    bench = gated()
    ancestry = bench.history.ancestry(bench.base.digest)
    signed, _ = signed_contribution(bench.event, bench.base, 1)

    def commit(rejected: list[tuple[Signed, str]]) -> Commit:
        return make_draft(
            bench.event, ancestry, accepted=[], rejected=rejected, departed=[],
            certificate=bench.history.certificate(bench.base.digest), proposer=identity(0).peer_id,
        ).complete(bench.base.state, 2)  # fmt: skip

    verified(commit([(signed, REASON)]), bench)
    for rejected in ([], [(signed, "payload_malformed")]):
        with pytest.raises(RemoteProtocolError, match="wrong_accepted"):
            verified(commit(rejected), bench)


def test_what_a_gate_refused_is_not_offered_again() -> None:
    bench = gated()
    commit, refused = refusing(bench)
    after = Ancestry([commit, *bench.history.ancestry(bench.base.digest).commits])
    claim = refused.open()
    assert claim_problem(bench.event, after, refused, claim) == "spent"  # type: ignore[arg-type]
