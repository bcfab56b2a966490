"""Rounds under amendments: what a commit that names one must hold to, and swarms that hear of them at different times."""

from __future__ import annotations

import pytest
from amendments.samples import EVENT, amendment, chain
from rounds.fakenet import Net, Node
from rounds.worlds import finality, identity, signed_contribution

from collab.protocol.amendments import (
    Announce,
    Ban,
    Body,
    Close,
    Coordinators,
    Extend,
    InForce,
    Open,
    Pause,
    Recipe,
    SignedAmendment,
    amended,
)  # fmt: skip
from collab.protocol.canonical import decode
from collab.protocol.commit import Commit, decode_commit
from collab.protocol.errors import RemoteProtocolError
from collab.protocol.event import InnerOptimiser, Rounds
from collab.protocol.history import History
from collab.protocol.merging import make_draft, verify_commit

PEER = [identity(number).peer_id for number in range(10)]


def history_with(*bodies: Body) -> History:
    history = History(EVENT)
    for signed in chain(*bodies):
        history.amendments.add(signed)
    return history


def commit_on(history: History, named: bytes | None, numbers: list[int]) -> Commit:
    """What a proposer makes that has applied the amendments up to `named`."""
    base = history.head
    event = history.amendments.event(base, named)
    trained = history.amendments.event_on(base)
    claims = [(*signed_contribution(trained, base, number, steps=trained.inner.steps), 1.0) for number in numbers]
    draft = make_draft(
        event, history.ancestry(base.digest), accepted=claims, rejected=[], departed=[],
        certificate=history.certificate(base.digest), proposer=PEER[0], amendment=named,
    )  # fmt: skip
    return draft.complete(bytes(31) + bytes([base.round + 1]), 7)


def verify(history: History, commit: Commit) -> None:
    verify_commit(history.event, history.ancestry(history.head.digest), commit)


def take(history: History, commit: Commit) -> None:
    verify(history, commit)
    event = history.amendments.event_on(history.head)
    history.add(commit, finality(event, history.head, commit))


def grown(history: History, named: bytes | None = None, numbers: tuple[int, ...] = (0, 1, 2, 3)) -> Commit:
    take(history, commit := commit_on(history, named, list(numbers)))
    return commit


def problem(history: History, commit: Commit) -> str:
    with pytest.raises(RemoteProtocolError) as caught:
        verify(history, commit)
    return f"{caught.value.reason}: {caught.value.detail}"


def test_a_commit_says_nothing_of_amendments_while_there_are_none() -> None:
    history = History(EVENT)
    first = grown(history)
    assert isinstance(fields := decode(first.encode()), dict)
    assert "amendment" not in fields
    named = commit_on(history_with(Announce(text="hello")), chain(Announce(text="hello"))[0].name, [0, 1])
    assert decode_commit(named.encode()).amendment is not None


def test_a_ban_counts_in_the_commit_that_names_it() -> None:
    history = history_with(Ban(peer=PEER[3]))
    grown(history)
    assert PEER[3] in {member.peer for member in history.head.roster}
    ban = history.in_force.digest
    event = history.amendments.event(history.head, None)
    claims = [(*signed_contribution(event, history.head, number), 1.0) for number in (0, 1, 3)]
    cheating = make_draft(
        event, history.ancestry(history.head.digest), accepted=claims, rejected=[], departed=[],
        certificate=history.certificate(history.head.digest), proposer=PEER[0], amendment=ban,
    ).complete(bytes(32), 7)  # fmt: skip
    assert problem(history, cheating) == "wrong_accepted: banned"
    fair = grown(history, ban, (0, 1, 2))
    assert PEER[3] not in {member.peer for member in fair.roster}
    grown(history, ban, (0, 1, 2))


def test_names_only_go_forward() -> None:
    history = history_with(Announce(text="one"), Announce(text="two"))
    one, two = (signed.name for signed in history.amendments.after(0))
    grown(history, two)
    assert problem(history, commit_on_older(history, one)).startswith("wrong_amendment")
    assert problem(history, commit_on_older(history, None)).startswith("wrong_amendment")
    assert problem(history, commit_on_older(history, bytes(32))).startswith("unknown_amendment")


def commit_on_older(history: History, named: bytes | None) -> Commit:
    good = commit_on(history, history.in_force.digest, [0, 1])
    return good.model_copy(update={"amendment": named})


def test_a_paused_event_makes_no_commits_until_it_is_opened() -> None:
    history = history_with(Pause(), Open())
    paused, opened = (signed.name for signed in history.amendments.after(0))
    grown(history)
    assert problem(history, commit_on(history, paused, [0, 1])).startswith("event_paused")
    grown(history, opened)


def test_an_event_that_was_over_goes_on_with_the_commit_that_names_its_extension() -> None:
    history = history_with(Close(after=2), Extend(last_round=9))
    closed, extended = (signed.name for signed in history.amendments.after(0))
    grown(history, closed)
    grown(history, closed)
    assert problem(history, commit_on(history, closed, [0, 1])).startswith("event_over")
    assert grown(history, extended).round == 3


def test_a_recipe_binds_trainers_by_the_base_that_they_train_on() -> None:
    inner = InnerOptimiser(batch=4, steps=5)
    history = history_with(Recipe(from_round=3, inner=inner))
    recipe = history.in_force.digest
    grown(history, recipe)
    assert history.amendments.event_on(history.head).inner == EVENT.inner
    second = grown(history, recipe)
    assert history.amendments.event_on(second).inner == inner
    assert problem(history, with_old_claims(history, recipe)) == "wrong_accepted: implausible"
    third = grown(history, recipe)
    assert {(claim.samples, claim.steps) for _, claim in third.contributions()} == {(20, 5)}


def with_old_claims(history: History, named: bytes | None) -> Commit:
    claims = [(*signed_contribution(EVENT, history.head, number), 1.0) for number in (0, 1)]
    return make_draft(
        history.amendments.event(history.head, named), history.ancestry(history.head.digest), accepted=claims, rejected=[],
        departed=[], certificate=history.certificate(history.head.digest), proposer=PEER[0], amendment=named,
    ).complete(bytes(32), 7)  # fmt: skip


def test_a_history_is_the_same_for_whoever_replays_it_later() -> None:
    first = history_with(Ban(peer=PEER[7]), Coordinators(keys=(PEER[1], PEER[0]), threshold=2), Extend(last_round=50))
    names = [None, *(signed.name for signed in first.amendments.after(0))]
    commits = [grown(first, name) for name in names]
    later = History(EVENT)
    for signed in first.amendments.after(0):
        later.amendments.add(signed)
    certificate = first.certificate(first.head.digest)
    assert certificate is not None
    assert later.extend(commits, certificate)
    assert later.head == first.head
    assert later.in_force == amended(EVENT, first.amendments.after(0))
    strange = History(EVENT)
    with pytest.raises(RemoteProtocolError, match="unknown_amendment"):
        strange.extend(commits, certificate)


# Swarms


def swarm(size: int, seed: int) -> Net:
    net = Net(EVENT.model_copy(update={"rounds": Rounds(deadline=60.0, collect=5.0, view=4.0)}), [], seed=seed)
    net.nodes = {identity(number).peer_id: Node(net, identity(number)) for number in range(size)}
    for node in net:
        net.at(net.random.uniform(0.0, 0.5), node.boot)
    net.run(lambda: min(net.rounds()) >= 2, 600.0)
    return net


def spread(net: Net, *signed: SignedAmendment, within: float) -> None:
    """Tell every node at a time of its own, in an order of its own."""
    for node in net:
        for each in net.random.sample(signed, len(signed)):
            net.at(net.now + net.random.uniform(0.0, within), lambda node=node, each=each: node.amend(each))  # type: ignore[misc]


def next_amendment(net: Net, body: Body, *, state: InForce | None = None) -> SignedAmendment:
    return amendment(state or next(iter(net)).history.in_force, body)


@pytest.mark.parametrize(("within", "seed"), [(0.2, 1), (6.0, 2), (20.0, 3)])
def test_a_ban_that_nodes_hear_of_at_different_times_splits_nobody(within: float, seed: int) -> None:
    net = swarm(8, seed)
    spread(net, next_amendment(net, Ban(peer=PEER[7])), within=within)
    start = max(net.rounds())
    net.run(lambda: sum(round >= start + 8 for round in net.rounds()) >= 7, 2000.0)
    heads = {node.history.at_round(start + 8) for node in net if node.peer_id != PEER[7]}
    assert len(heads) == 1
    newest = net.nodes[PEER[0]].history.head
    assert newest.amendment is not None
    assert PEER[7] not in {member.peer for member in newest.roster}
    assert PEER[7] not in {signed.signer for signed, _ in newest.contributions()}
    refused = [refusal for node in net for refusal in node.refused if refusal.reason == "banned"]
    assert {refusal.peer for refusal in refused} <= {PEER[7]}


def test_coordinators_who_did_not_know_of_each_other_agree_in_the_end() -> None:
    net = swarm(8, 4)
    state = next(iter(net)).history.in_force
    spread(net, *(next_amendment(net, Announce(text=text), state=state) for text in ("one", "two")), within=15.0)
    start = max(net.rounds())
    net.run(lambda: min(net.rounds()) >= start + 6, 3000.0)
    assert len({node.history.at_round(start + 6) for node in net}) == 1
    assert len({node.history.in_force.digest for node in net}) == 1


def test_a_pause_stops_the_rounds_and_an_opening_starts_them() -> None:
    net = swarm(5, 5)
    pause = next_amendment(net, Pause())
    spread(net, pause, within=1.0)
    net.run(lambda: all(node.history.in_force.paused for node in net), 60.0)
    stopped = net.now + 60.0
    net.run(lambda: net.now >= stopped, 120.0)
    before = max(net.rounds())
    later = net.now + 200.0
    net.run(lambda: net.now >= later, 400.0)
    assert max(net.rounds()) == before
    spread(net, next_amendment(net, Open()), within=1.0)
    net.run(lambda: min(net.rounds()) >= before + 3, 600.0)
    assert len({node.history.at_round(before + 3) for node in net}) == 1
