"""Whole swarms over the fake network: safety always, and progress under every fault the design names.

`Net.note_final` asserts in every test that no two commits become final on one base in one epoch.
"""

from __future__ import annotations

from functools import partial

import pytest
from rounds.fakenet import Faults, Net, Node
from rounds.worlds import event, identity

from collab.protocol.admission import USED_UP, admit
from collab.protocol.commit import Commit
from collab.protocol.event import Admission, Rounds
from collab.protocol.rounds import effects as do
from collab.protocol.tokens import Terms


def swarm(size: int, *, seed: int = 0, faults: Faults | None = None, committee: int = 7) -> Net:
    rounds = Rounds(deadline=60.0, collect=5.0, view=4.0, committee=committee)
    net = Net(event(rounds), [identity(number) for number in range(size)], seed=seed, faults=faults)
    for node in net:
        net.at(net.random.uniform(0.0, 0.5), node.boot)
    return net


def reach(net: Net, round: int, *, limit: float = 3000.0) -> None:
    net.run(lambda: min(net.rounds()) >= round, limit)


def heads_agree(net: Net) -> bool:
    shortest = min(net.rounds())
    return len({node.history.at_round(shortest) for node in net if node.alive}) == 1


def test_without_faults_rounds_are_quick_and_everybody_contributes() -> None:
    net = swarm(32)
    reach(net, 10)
    assert heads_agree(net)
    assert net.now < 10 * 10
    head = next(iter(net)).history.head
    assert len(head.accepted) == 32
    assert len(head.roster) == 32
    assert not [refused for node in net for refused in node.refused]


def test_loss_duplication_and_reordering() -> None:
    net = swarm(32, seed=1, faults=Faults(delay=(0.01, 1.5), loss=0.2, duplicates=0.2))
    reach(net, 10)
    assert heads_agree(net)


def test_a_token_for_two_lets_two_of_three_in_and_the_rounds_go_on() -> None:
    key, token = identity(90), identity(91)
    manifest = event(admission=Admission(mode="invited", key=key.peer_id))
    terms = Terms.seal(key, manifest.digest, token.public_key, uses=2)
    net = Net(manifest, [identity(number) for number in range(7)], seed=4)
    for number, node in enumerate(net):
        invited = number >= 4
        node.admission = admit(manifest, node.peer_id, token.seed if invited else key.seed, terms if invited else None)
        net.at(net.random.uniform(0.0, 0.5), node.boot)
    reach(net, 6)
    assert heads_agree(net)
    guests = {node.peer_id for number, node in enumerate(net) if number >= 4}
    (inside,) = {node.history.admitted.by(token.public_key) for node in net if node.history.head.round >= 6}
    assert len(inside) == 2
    assert inside < guests
    assert {node.peer_id for node in net if not node.trains} == guests - inside
    assert {refused.reason for node in net for refused in node.refused} <= {USED_UP}


def test_a_third_of_the_nodes_crashes_every_round() -> None:
    net = swarm(32, seed=2)
    rounds: set[int] = set()

    def churn(node: Node, commit: Commit) -> None:
        if commit.round in rounds:
            return
        rounds.add(commit.round)
        for victim in net.random.sample(list(net), 10):
            if victim.alive:
                net.at(net.now + net.random.uniform(0.0, 8.0), victim.crash)
                net.at(net.now + 25.0, victim.wake)

    net.on_final.append(churn)
    net.run(lambda: sorted(node.history.head.round for node in net)[16] >= 10, 3000.0)
    net.on_final.clear()
    for node in net:
        net.at(net.now + 30.0, node.wake)
    net.run(lambda: len(net.rounds()) == 32 and min(net.rounds()) >= 12, 3000.0)
    assert heads_agree(net)


@pytest.mark.parametrize("effect", [do.BuildCommit, do.KeepCommit, do.Send, do.Persist, do.ReplayCommit, do.Finalise])
def test_proposers_that_crash_in_each_phase(effect: type[do.Effect]) -> None:
    """Whoever proposes first crashes there, and comes back later from what it persisted."""
    net = swarm(7, seed=3)
    reach(net, 1)
    for node in net:
        node.crash_on = partial(crash_proposer, net, node, effect)
    reach(net, 10)
    for node in net:
        node.crash_on = lambda it: False
    net.run(lambda: len(net.rounds()) == 7 and min(net.rounds()) >= 12, 1000.0)
    assert heads_agree(net)


def crash_proposer(net: Net, node: Node, where: type[do.Effect], it: do.Effect) -> bool:
    setting = node.machine.setting
    proposes = setting.committee(0).proposer(0) == node.peer_id
    if not isinstance(it, where) or not proposes or not all(other.alive for other in net):
        return False
    if isinstance(it, do.Send) and it.signed.kind != "proposal":
        return False
    net.at(net.now + 15.0, node.boot)
    return True


def test_the_minority_of_a_partition_finalises_nothing_and_comes_back() -> None:
    net = swarm(32, seed=4)
    reach(net, 2)
    committee = next(iter(net)).machine.setting.committee(0).members
    others = [peer for peer in net.nodes if peer not in committee]
    minority = set(committee[:4]) | set(others[:8])
    net.faults.groups = [minority, set(net.nodes) - minority]
    net.run(lambda: max(net.rounds()) >= 4, 3000.0)
    stuck = {net.nodes[peer].history.head.round for peer in minority}
    assert max(stuck) <= 3
    net.faults.groups = []
    reach(net, 6)
    assert heads_agree(net)


def test_late_contributions_become_stale_ones() -> None:
    net = swarm(8, seed=5)
    reach(net, 1)
    slow = net.nodes[identity(7).peer_id]
    slow.train_seconds = lambda: 30.0
    late = [
        (contribution.base, commit)
        for commit in collected(net, rounds=8)
        for signed, contribution in commit.contributions()
        if signed.signer == slow.peer_id and contribution.base != commit.base
    ]
    assert late
    assert heads_agree(net)


def collected(net: Net, *, rounds: int) -> list[Commit]:
    commits: list[Commit] = []
    net.on_final.append(lambda node, commit: commits.append(commit) if node.peer_id == identity(0).peer_id else None)
    reach(net, rounds)
    return commits


def test_a_silent_node_leaves_the_roster() -> None:
    net = swarm(8, seed=6)
    reach(net, 2)
    gone = net.nodes[identity(7).peer_id]
    gone.crash()
    reach(net, 9)
    assert gone.peer_id not in {member.peer for member in next(iter(net)).history.head.roster}


def test_a_committee_that_vanished_is_drawn_again() -> None:
    net = swarm(12, seed=9, committee=4)
    reach(net, 2)
    base = next(iter(net)).history.head
    for peer in next(iter(net)).machine.setting.committee(0).members[:2]:
        net.nodes[peer].crash()
    reach(net, 6)
    assert heads_agree(net)
    assert 0 not in net.finals[base.digest]


def test_a_node_that_only_serves_proposes_for_its_trainers() -> None:
    net = swarm(3, seed=7)
    net.nodes[identity(0).peer_id].trains = False
    reach(net, 6)
    head = next(iter(net)).history.head
    assert len(head.accepted) == 2
    assert len(head.roster) == 3
    assert net.now < 6 * 10


def test_an_idle_swarm_makes_no_commits_and_no_epochs() -> None:
    net = swarm(4, seed=8)
    for node in net:
        node.trains = False
    net.at(1000.0, lambda: None)
    net.run(lambda: net.now > 900.0, 1000.0)
    assert net.rounds() == [0] * 4
    assert {node.machine.poll.voting.turn for node in net} == {(0, 0)}


def test_a_swarm_of_one() -> None:
    net = swarm(1)
    reach(net, 5)
    assert net.now < 5 * 8


@pytest.mark.parametrize("effect", [do.BuildCommit, do.Persist, do.Send, do.Finalise])
def test_a_swarm_of_one_comes_back_from_any_crash(effect: type[do.Effect]) -> None:
    net = swarm(1)
    (node,) = net
    crashes = iter([True, False, True])
    node.crash_on = lambda it: isinstance(it, effect) and node.machine.contribution is not None and next(crashes, False)
    for second in range(2, 60, 2):
        net.at(float(second), node.wake)
    net.run(lambda: node.history.head.round >= 3, 200.0)
    assert next(crashes, None) is None
