"""A node that is built but not connected: what it shows and answers in each phase, and how it accounts for commits."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from amendments.samples import chain
from daemon.drivekit import EVENT, trained
from daemon.kit import FakeRpc, Internet, helped, line
from daemon.nodekit import CHAIN, Desk, turns
from rounds.worlds import event, identity

from collab.node.clock_skew import ClockSkew
from collab.node.credit.receipts import OpenReceipts
from collab.node.daemon import _until
from collab.node.display.observe import observe
from collab.node.errors import NothingToDo, UserError
from collab.node.hosting import disk
from collab.node.hosting.pausing import Pausing
from collab.node.net.errors import NetworkError
from collab.node.net.gossip import GossipMessage
from collab.node.net.rpc import Rpc
from collab.node.processes.ipc import ChannelClosed, RemoteFailure
from collab.node.rounds import company, loop
from collab.node.rounds.company import Company
from collab.node.rounds.driver import Finalised, Overtaken
from collab.node.rounds.fetching import Unavailable
from collab.node.rounds.weights import StateMismatch
from collab.node.store import behind
from collab.protocol.amendments import Close, Pause
from collab.protocol.commit import Commit
from collab.protocol.errors import RemoteProtocolError
from collab.protocol.event import Rounds
from collab.protocol.invite import Invite
from collab.protocol.manifest import SignedManifest
from collab.protocol.messages import Signed, VerdictNotice
from collab.protocol.record import sha256


def accepted(desk: Desk) -> float | None:
    return desk.node.metrics.registry.get_sample_value("collab_contributions_accepted_total")


# Views


@pytest.mark.parametrize("phase", ["starting", "connecting", "fetching the event", "preparing the model and the data"])
def test_a_node_can_be_seen_before_it_knows_its_event(desk: Desk, phase: str) -> None:
    desk.node.phase = phase
    view = observe(desk.node)
    assert (view.phase, view.message, view.event) == (phase, phase, EVENT.digest.hex()[:16])
    assert (view.peer, view.round, view.commit, view.loss) == (identity(0).peer_id, 0, "", None)
    assert view.to_dict()["phase"] == phase


def test_a_ready_node_shows_its_head(desk: Desk) -> None:
    desk.make_ready()
    desk.take(*CHAIN)
    desk.node.phase = "serving"
    view = observe(desk.node)
    head = CHAIN[-1][0]
    assert (view.event, view.round, view.commit, view.state) == ("test", 4, head.digest.hex(), head.state.hex())
    assert (view.contributors, view.share, view.swarm_samples) == (4, 0.25, head.samples)
    assert (view.phase, view.message, view.loss, view.steps) == ("serving", "serving", 2.0, 10)


async def test_a_node_in_a_round_says_what_it_waits_for(desk: Desk) -> None:
    desk.make_ready()
    node, driver = desk.node, desk.bench.driver
    node.phase = "round"
    view = observe(node)
    assert (view.phase, view.loss) == ("round", None)
    run = asyncio.create_task(driver.run(node.history.root, train=True))
    await turns()
    view = observe(node)
    assert (view.phase, view.message) == ("training", "training")
    assert view.phase_seconds_left is not None
    assert 0 < view.phase_seconds_left <= EVENT.rounds.deadline
    driver.notice(trained(0, done=False))
    await turns()
    view = observe(node)
    assert (view.step, view.round_samples, view.loss, view.tokens_per_second) == (1, 2, 2.5, 100.0)
    driver.notice(trained(0))
    await run
    assert observe(node).message == "the commit is final"


@pytest.mark.parametrize("shared", [False, True])
def test_only_who_shares_its_metrics_says_where_they_are(desk: Desk, shared: bool) -> None:
    node = desk.node
    node.metrics_port = 9464
    node.options = replace(node.options, settings=node.options.settings.model_copy(update={"metrics_shared": shared}))
    assert node._standing().metrics_port == (9464 if shared else 0)
    desk.make_ready()
    assert node._standing().metrics_port == (9464 if shared else 0)


# Requests


async def test_requests_that_come_too_early_get_one_line(desk: Desk) -> None:
    desk.node.phase = "connecting"
    for name in ("commit", "evaluate"):
        with pytest.raises(UserError, match="the node is not ready yet: connecting"):
            await desk.requests[name]({})
    assert (await desk.requests["status"]({}))["phase"] == "connecting"


async def test_stop_stops(desk: Desk) -> None:
    assert await desk.requests["stop"]({}) == {}
    assert desk.node.stop.is_set()


async def test_a_commit_is_found_by_its_round(desk: Desk) -> None:
    desk.make_ready()
    desk.take(*CHAIN)
    assert (await desk.requests["commit"]({}))["commit"] == CHAIN[-1][0].digest.hex()
    found = await desk.requests["commit"]({"round": 2})
    assert found == {
        "commit": CHAIN[1][0].digest.hex(), "round": 2, "state": CHAIN[1][0].state.hex(), "samples": CHAIN[1][0].samples,
    }  # fmt: skip
    assert (await desk.requests["commit"]({"round": 0}))["round"] == 0
    with pytest.raises(UserError, match="no commit of round 5"):
        await desk.requests["commit"]({"round": 5})
    for odd in ("two", -1, 2.5, b""):
        with pytest.raises(UserError, match="round is a number from 0 on"):
            await desk.requests["commit"]({"round": odd})


async def test_evaluate_answers_or_says_why_not(desk: Desk) -> None:
    desk.make_ready()
    desk.losses = [2.25, RemoteFailure("no_data", "the event's data has no held-out block"), ChannelClosed("gone")]
    assert await desk.requests["evaluate"]({"samples": 8}) == {"loss": 2.25, "round": 0}
    assert observe(desk.node).held_out_loss == 2.25
    with pytest.raises(UserError, match="no held-out block"):
        await desk.requests["evaluate"]({})
    with pytest.raises(UserError, match="the trainer ended"):
        await desk.requests["evaluate"]({})
    with pytest.raises(UserError, match="samples is a number from 0 on"):
        await desk.requests["evaluate"]({"samples": "many"})


# Accounting


async def test_every_commit_is_accounted_for_once(desk: Desk) -> None:
    desk.make_ready()
    desk.node.accounting.begin(desk.node.history, desk.node.contributor)
    desk.take(*CHAIN[:3])
    await desk.node.loop._account()
    await desk.node.loop._account()
    desk.take(*CHAIN[3:])
    await desk.node.loop._account()
    assert desk.settled == [1, 2, 3, 4]
    assert desk.node.accounting.taken == 40
    assert accepted(desk) == 16
    assert desk.store.counter("accepted_samples") == 40


async def test_after_a_fork_only_what_is_new_is_accounted_for(desk: Desk) -> None:
    desk.make_ready()
    desk.node.accounting.begin(desk.node.history, desk.node.contributor)
    desk.take(*CHAIN[:2], *line(3, EVENT, tag=b"late", start=CHAIN[:2], epoch=1))
    await desk.node.loop._account()
    assert desk.settled == [1, 2, 3, 4, 5]
    desk.take(*CHAIN[2:])
    assert desk.node.history.head == CHAIN[-1][0]
    await desk.node.loop._account()
    assert desk.settled == [1, 2, 3, 4, 5, 3, 4]


async def test_a_worker_that_dies_while_commits_are_accounted_for_stops_nothing(desk: Desk) -> None:
    desk.make_ready()
    desk.node.accounting.begin(desk.node.history, desk.node.contributor)
    desk.take(*CHAIN)
    settle, deaths = desk._settle, [2]

    async def die_once(commit: Commit) -> int:
        if commit.round in deaths:
            deaths.remove(commit.round)
            raise ChannelClosed("the worker keeps dying")
        return await settle(commit)

    desk.node.contributor.settle = die_once  # type: ignore[assignment,method-assign]
    await desk.node.loop._account()
    assert desk.settled == [1]
    await desk.node.loop._account()
    assert desk.settled == [1, 2, 3, 4]


async def test_a_peer_is_banned_once_and_not_asked_any_more(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    banned: list[str] = []

    async def ban(peer: str) -> None:
        banned.append(peer)

    monkeypatch.setattr(desk.node.network, "ban", ban)
    for _ in range(5):
        desk.node.peers.fault("liar", "state_mismatch")
    await turns()
    assert banned == ["liar"]
    assert not desk.node.peers._bans
    assert len(asyncio.all_tasks()) == 1


def test_who_claims_the_most_is_not_asked_first_by_everybody(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.make_ready()
    desk.take(*CHAIN)
    claims = {"ahead": 5, "far ahead": 1 << 39, "here": 4, "behind": 1, "banned": 9, identity(0).peer_id: 4}
    monkeypatch.setattr(desk.node.network, "_known", {peer: SimpleNamespace(round=round) for peer, round in claims.items()})
    for _ in range(3):
        desk.node.peers._reputation.fault("banned", "bad_signature", 0.0)
    orders = [desk.node.likely_peers() for _ in range(60)]
    assert {tuple(order[2:]) for order in orders} == {("here", "behind")}
    assert {order[0] for order in orders} == {"ahead", "far ahead"}


async def test_asking_around_goes_on_after_whoever_fails_or_lies(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.make_ready()
    asked: list[str] = []
    answers = {"gone": NetworkError("gone"), "empty": Unavailable("no"), "liar": RemoteProtocolError("malformed")}

    async def ask(peer: str) -> bool:
        asked.append(peer)
        if peer in answers:
            raise answers[peer]
        return True

    monkeypatch.setattr(desk.node, "likely_peers", lambda: [*answers, "honest", "not needed"])
    desk.node.catch_up = SimpleNamespace(ask=ask)  # type: ignore[assignment]
    await desk.node.ask_around()
    assert asked == ["gone", "empty", "liar", "honest"]
    assert 75 <= desk.node.peers._reputation.score("liar", time.monotonic()) < 80


# The loop


async def test_a_node_leaves_after_as_many_rounds_as_wanted(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.make_ready()
    node, order = desk.node, []
    node.options = replace(node.options, max_rounds=2)
    node.event = event(Rounds(view=0.05))

    async def run(base: Commit, *, train: bool) -> Finalised | Overtaken:
        order.append((node.phase, base.round, train))
        await asyncio.sleep(0)
        if not train:
            await asyncio.Event().wait()
        if base.round == 1:
            desk.take(CHAIN[1])
            return Overtaken()
        return Finalised(*CHAIN[base.round])

    async def accept(commits: list[Commit], certificate: Any) -> bool:
        desk.take((commits[0], certificate))
        return True

    monkeypatch.setattr(node.driver, "run", run)
    node.catch_up = SimpleNamespace(accept=accept)  # type: ignore[assignment]
    await node.loop.run()
    assert order == [("round", 0, True), ("round", 1, True), ("round", 2, True), ("leaving", 3, False)]
    assert desk.settled == [1, 2, 3]
    assert node.loop.commits_made == 2
    assert len(asyncio.all_tasks()) == 1


async def test_weights_that_cannot_be_reached_are_tried_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.make_ready()
    monkeypatch.setattr(loop, "_RETRY_SECONDS", 0.0)
    problems: list[Exception] = [Unavailable("no"), StateMismatch("no"), RemoteFailure("file", "no"), ChannelClosed("no")]
    around = 0

    async def bring_to(commit: Commit) -> None:
        if problems:
            raise problems.pop(0)

    async def ask_around() -> None:
        nonlocal around
        around += 1

    monkeypatch.setattr(desk.node.weights, "bring_to", bring_to)
    monkeypatch.setattr(desk.node, "ask_around", ask_around)
    reached = [await desk.node.loop._reach(desk.node.history.head) for _ in range(5)]
    assert reached == [False, False, False, False, True]
    assert around == 4


# What a person is told


async def test_a_clock_that_is_off_is_told_until_it_is_right(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.make_ready()
    node, net, off = desk.node, Internet(), -600.0
    for name in ("one", "two", "three"):
        ClockSkew(cast(Rpc, FakeRpc(net, name)), tuple, lambda ahead: None)
    ours = cast(Rpc, FakeRpc(net, "us"))
    node.clock_skew = ClockSkew(ours, lambda: ["one", "two", "three"], node._on_clock_skew, lambda: time.time() + off)
    monkeypatch.setattr(node, "likely_peers", list)
    await node._learn_history()
    told = "this clock is 10 min 00 s behind the peers': others cannot find this node; set it: `sudo timedatectl set-ntp true`"
    assert node.warning == observe(node).warning == told
    assert node.metrics.registry.get_sample_value("collab_clock_skew_seconds") == pytest.approx(-600, abs=1)
    off = 0.0
    watch = asyncio.create_task(node.clock_skew.run())
    await turns()
    watch.cancel()
    assert node.warning == ""


async def test_a_node_that_rests_with_its_swarm_is_not_alone(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.make_ready()
    desk.take(*CHAIN)
    node, now = desk.node, [0.0]
    node.driver = cast(Any, SimpleNamespace(machine=SimpleNamespace(setting=SimpleNamespace(silence=10.0))))
    node.company = Company(lambda: now[0])
    now[0] = 100.0
    monkeypatch.setattr(company, "_LOOK_SECONDS", 0.0)

    async def looked() -> str:
        watch = asyncio.create_task(company.keep_company(node))
        await turns()
        watch.cancel()
        return node.company.words

    assert (await looked()).startswith("alone:")
    node.history.amendments.add(*chain(Pause(), manifest=EVENT))
    assert await looked() == ""


async def test_a_worker_that_rests_does_what_it_should(desk: Desk) -> None:
    assert not desk.node.parts["worker"]
    host = cast(Any, SimpleNamespace(rest=lambda: asyncio.sleep(0)))
    desk.node.pausing = Pausing(desk.node.options.home.path / "note", lambda: host, lambda: asyncio.sleep(0))
    await desk.node.pausing.pause("coordinators", "a look")
    assert desk.node.parts["worker"]


def test_every_part_that_died_is_counted(desk: Desk) -> None:
    desk.make_ready()
    for part in ("worker", "sidecar"):
        desk.node._on_death(part, "ended with -9")
    assert observe(desk.node).restarts == 2


async def test_a_disk_that_fills_up_ends_the_node(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    free = [1 << 40, (1 << 20) - 1]
    monkeypatch.setattr(disk, "_LOOK_SECONDS", 0.0)
    monkeypatch.setattr("shutil.disk_usage", lambda place: SimpleNamespace(free=free.pop(0)))
    with pytest.raises(UserError) as caught:
        await _until(desk.node.stop, cast(Any, asyncio.Event().wait()), disk.watch_disk(desk.node.options.home))
    assert free == []
    assert caught.value.lines() == [
        f"error: 1 MiB are needed on the disk of {desk.node.options.home.path}, 0 MiB are free",
        "hint: free some, or choose another disk with --home DIR",
    ]


async def test_who_comes_to_train_in_a_closed_event_gets_its_model_and_a_line(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.make_ready()
    desk.take(*CHAIN)
    node, reached = desk.node, list[int]()
    node.history.amendments.add(*chain(Close(after=4), manifest=EVENT))
    node.options = replace(node.options, invite=Invite(event=EVENT.digest, bootstrap=("/ip4/127.0.0.1/tcp/1",)))

    async def bring_to(commit: Commit) -> None:
        reached.append(commit.round)

    monkeypatch.setattr(node.weights, "bring_to", bring_to)
    with pytest.raises(NothingToDo) as caught:
        await node.loop.run()
    assert caught.value.exit_code == 3
    assert caught.value.lines() == [
        "error: this event is closed: round 4 was its last", "hint: `collab-node export` saves the model that it made",
    ]  # fmt: skip
    assert reached == [4]


# Helping without training


@pytest.mark.parametrize("trains", [False, True])
async def test_a_new_commit_is_tested_by_who_does_not_train_while_the_worker_holds_its_base(desk: Desk, trains: bool) -> None:
    desk.make_ready()
    node: Any = desk.node
    node.options = replace(node.options, trains=trains)
    seen: list[tuple[int, bool]] = []

    async def see(commit: Commit, *, tests: bool) -> None:
        seen.append((commit.round, tests))

    node.witness = SimpleNamespace(see=see)
    desk.take(CHAIN[0])
    node.weights.base = node.history.root.digest
    assert await node.loop._reach(node.history.head)
    desk.take(CHAIN[1], CHAIN[2])  # more than one behind: those between are not tested
    assert await node.loop._reach(node.history.head)
    node.weights.base = node.history.head.digest
    assert await node.loop._reach(node.history.head)
    assert seen == [(1, not trains)]


async def test_who_gave_what_a_new_commit_needed_gets_a_receipt(desk: Desk) -> None:
    desk.make_ready()
    node = desk.node
    node.accounting.begin(node.history, node.contributor)
    (_, claim), *_ = CHAIN[0][0].contributions()
    donor = identity(9)
    node.network.fetcher.on_fetched(claim.payload.sha256, claim.payload.size, {donor.peer_id: claim.payload.size})
    node.network.fetcher.on_fetched(sha256(b"of no use"), 500, {donor.peer_id: 500})
    desk.take(CHAIN[0])
    assert node.receipts.next([]) == ()
    await node.loop._account()
    assert node.receipts.next([]) == ((donor.public_key, claim.payload.size),) == OpenReceipts(desk.store).next([])
    snapshot = desk.store.blobs.put_bytes(b"of no use")
    desk.store.record_snapshot(CHAIN[0][0].digest, snapshot)
    await node.loop._account()
    assert node.receipts.next([]) == ((donor.public_key, claim.payload.size + 500),)


async def test_who_serves_without_training_is_known_by_name(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    helper, nobody = identity(8), identity(9)
    desk.make_ready()
    desk.node.accounting.begin(desk.node.history, desk.node.contributor)
    named = {peer.peer_id: SimpleNamespace(p2p=(), round=0, name=name) for peer, name in ((helper, "Ada"), (nobody, "Bo"))}
    monkeypatch.setattr(desk.node.network, "_known", named)
    desk.take(*helped(helper, 100, EVENT))
    await desk.node.loop._account()
    assert desk.node.leaderboard.place(helper.peer_id)[1].served == 100
    assert desk.node.leaderboard.names == {helper.peer_id: "Ada"}


# Verdicts


async def test_a_node_that_joins_has_everything_yet_to_fetch(desk: Desk) -> None:
    desk.node._take_event(SignedManifest.seal(identity(0), EVENT))
    assert behind.first_pending(desk.store) == 0


async def test_a_notice_of_verdicts_is_for_the_store_not_for_the_round(desk: Desk) -> None:
    desk.make_ready()
    node, told = desk.node, list[str]()
    notice = Signed.seal(identity(3), VerdictNotice(event=EVENT.digest, verdicts=(b"one",)))
    message = GossipMessage("topic", notice.encode(), notice.signer, notice.signer)
    node.peers.fault = lambda peer, reason: told.append(f"{reason} of {peer}")  # type: ignore[method-assign]
    node.hearing.hear(message)  # the event is not known yet: what waits is asked for later
    node.effects.ready = True
    node.hearing.hear(message)
    assert told == [f"malformed of {identity(3).peer_id}"]
    assert node.network.traffic.messages["received_verdicts"] == 2
    assert desk.bench.driver._inbox.qsize() == 0
    assert len(node.hearing._heard) == 0
