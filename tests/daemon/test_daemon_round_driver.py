"""The driver around the round machine: what it does, in which order, and what becomes of whatever goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from daemon import drivekit
from daemon.drivekit import EVENT, Bench, trained
from daemon.kit import line, until
from gates.test_gates_verdict import verdict
from rounds.worlds import contribution, draft_on, event, finality, identity, signed_contribution

from collab.node.net.errors import NetworkError
from collab.node.processes.ipc import ChannelClosed, RemoteFailure
from collab.node.rounds import driver as round_driver
from collab.node.rounds.driver import Finalised, Interrupted, Overtaken
from collab.node.rounds.fetching import Unavailable
from collab.node.trainer import messages
from collab.protocol.canonical import encode
from collab.protocol.commit import Commit
from collab.protocol.errors import RemoteProtocolError
from collab.protocol.gates import LossGate
from collab.protocol.messages import Blob, Contribution, Goodbye, Progress, Signed, _signed_bytes
from collab.protocol.record import sha256
from collab.protocol.rounds.effects import Behind, Refused
from collab.protocol.rounds.machine import RoundMachine
from collab.protocol.rounds.state import VotingState
from collab.protocol.verdict import sign_verdict

CHAIN = line(3, EVENT)
NEXT, PROOF = CHAIN[0]
NO_ROUND = cast(RoundMachine, None)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.store.close()


def progress(number: int, base: Commit, sequence: int = 1) -> Signed:
    """Word of a peer's training on a commit."""
    said = Progress(
        event=EVENT.digest, base=base.digest, round=base.round, samples=2, steps=1, loss=2.0, rate=1.0, trains=True, done=False,
        sequence=sequence,
    )  # fmt: skip
    return Signed.seal(identity(number), said)


async def turns(count: int = 20) -> None:
    """Let everything that can run do so."""
    for _ in range(count):
        await asyncio.sleep(0)


def only_this_task() -> bool:
    return len(asyncio.all_tasks()) == 1


# A round from its start to its commit


async def test_a_round_of_one_ends_in_a_commit(bench: Bench) -> None:
    outcome = await bench.driver.run(bench.history.root, train=True)
    assert isinstance(outcome, Finalised)
    assert only_this_task()
    commit = outcome.commit
    assert (commit.round, commit.state, commit.samples) == (1, sha256(b"merged"), 20)
    assert bench.history.add(commit, outcome.certificate)
    assert bench.kinds() == ["contribution", "proposal", "attestation", "attestation"]
    assert bench.done[:3] == ["train 0 from 0 with 1", "contribute", "persist"]
    assert bench.store.blobs.read(commit.digest) == commit.encode()
    assert bench.faults == []


async def test_nothing_is_said_before_it_is_on_the_disk(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    publish = bench.driver._tools.publish

    async def check(signed: Signed) -> None:
        if signed.kind in ("contribution", "attestation", "proposal"):
            saved = bench.store.load_voting(bench.history.root.digest)
            assert saved is not None
            state = VotingState.decode(saved)
            assert signed.encode() in (*state.said, state.contribution)
        if signed.kind == "proposal":
            assert "keep" in bench.done
        await publish(signed)

    monkeypatch.setattr(bench.driver._tools, "publish", check)
    assert isinstance(await bench.driver.run(bench.history.root, train=True), Finalised)
    assert bench.done.index("merge 1") < bench.done.index("keep") < bench.done.index("send proposal")


async def test_rounds_follow_each_other(bench: Bench) -> None:
    head = bench.history.root
    for number in range(1, 4):
        outcome = await bench.driver.run(head, train=True)
        assert isinstance(outcome, Finalised)
        bench.history.add(outcome.commit, outcome.certificate)
        bench.store.add_commit(outcome.commit, outcome.certificate)
        head = outcome.commit
        assert head.round == number
    assert head.samples == 60


async def test_a_round_goes_on_after_a_restart_with_what_was_said(bench: Bench, tmp_path: Path) -> None:
    first = await bench.driver.run(bench.history.root, train=True)
    assert isinstance(first, Finalised)
    said = [signed for signed in bench.sent if signed.kind == "attestation"]
    bench.driver = round_driver.RoundDriver(bench._tools())
    again = await bench.driver.run(bench.history.root, train=False)
    assert isinstance(again, Finalised)
    assert again.commit == first.commit
    repeated = [signed for signed in bench.sent if signed.kind == "attestation"][len(said) :]
    assert {signed.body for signed in repeated} <= {signed.body for signed in said}


async def test_stale_contributions_are_offered_again(bench: Bench) -> None:
    root = bench.history.root
    commit = draft_on(EVENT, bench.history.ancestry(root.digest), None, [1, 2, 3]).complete(sha256(b"of others"), 7)
    proof = finality(EVENT, root, commit)
    bench.history.add(commit, proof)
    bench.store.add_commit(commit, proof)
    bench.stale = [contribution(EVENT, root, b"stale"), contribution(EVENT, root, b"implausible", steps=11)]
    run = asyncio.create_task(bench.driver.run(commit, train=False))
    await turns()
    assert [signed.open_as(Contribution).payload for signed in bench.sent if signed.kind == "contribution"] == [
        bench.stale[0].payload
    ]
    run.cancel()
    await asyncio.wait([run])
    assert only_this_task()


# What others say


async def test_what_is_said_of_a_base_to_come_is_heard_when_it_has_come(bench: Bench) -> None:
    bench.trains_at_once = False

    async def ask(peer: str) -> bool:
        bench.done.append(f"ask {peer[-4:]}")
        return bench.history.add(NEXT, PROOF)

    bench.ask = ask
    bench.driver.deliver(signed_contribution(EVENT, NEXT, 2)[0])
    assert isinstance(await bench.driver.run(bench.history.root, train=True), Overtaken)
    assert only_this_task()
    bench.store.add_commit(NEXT, PROOF)
    run = asyncio.create_task(bench.driver.run(NEXT, train=True))
    await turns()
    machine = bench.driver.machine
    assert machine is not None
    assert [claim.signed.signer for claim in machine.claims] == [identity(2).peer_id]
    run.cancel()
    await asyncio.wait([run])


async def test_a_peer_is_asked_once_an_interval_and_not_everybody_at_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(round_driver, "_now", lambda: now)
    for _ in range(3):
        await bench.driver._do(NO_ROUND, Behind("p", NEXT.digest, 1))
        await turns(3)
    assert bench.done == ["ask p"]
    now += 2.5
    await bench.driver._do(NO_ROUND, Behind("p", NEXT.digest, 1))
    await turns(3)
    assert bench.done == ["ask p"] * 2
    never = asyncio.Event()

    async def hang(peer: str) -> bool:
        bench.done.append("hang")
        await never.wait()
        return False

    bench.ask = hang
    for _ in range(4):  # who takes for ever to answer takes one place, however often it speaks
        now += 2.5
        await bench.driver._do(NO_ROUND, Behind("slow", NEXT.digest, 1))
    await turns(3)
    assert bench.done.count("hang") == 1
    for number in range(50):
        await bench.driver._do(NO_ROUND, Behind(f"peer {number}", NEXT.digest, 1))
    await turns(3)
    assert bench.done.count("hang") == 8
    await bench.driver._end_tasks()
    assert only_this_task()


@pytest.mark.parametrize("error", [NetworkError("gone"), Unavailable("gone"), RemoteProtocolError("malformed")])
async def test_what_a_peer_proved_before_it_failed_counts(bench: Bench, error: Exception) -> None:
    bench.trains_at_once = False

    async def ask(peer: str) -> bool:
        bench.history.add(NEXT, PROOF)
        raise error

    bench.ask = ask
    bench.driver.deliver(progress(2, NEXT))
    assert isinstance(await bench.driver.run(bench.history.root, train=True), Overtaken)
    blamed = [(identity(2).peer_id, "malformed")] if isinstance(error, RemoteProtocolError) else []
    assert bench.faults == blamed


async def test_old_news_does_not_end_the_next_round(bench: Bench) -> None:
    bench.history.add(NEXT, PROOF)
    bench.store.add_commit(NEXT, PROOF)
    bench.driver._put(bench.driver._compare)
    run = asyncio.create_task(bench.driver.run(NEXT, train=False))
    await turns()
    assert not run.done()
    run.cancel()
    await asyncio.wait([run])


async def test_claims_of_strangers_that_nobody_can_fetch_leave_room_for_those_of_members(bench: Bench) -> None:
    bench.history.add(NEXT, PROOF)
    bench.store.add_commit(NEXT, PROOF)
    members = {member.peer for member in NEXT.roster}
    fetched: list[str] = []

    async def fetch(blob: Blob, sources: Sequence[str]) -> Path:
        fetched.append(sources[0])
        if sources[0] not in members:
            await asyncio.Event().wait()
        return bench.store.blobs.path(blob.sha256)

    bench.driver._tools.fetcher = SimpleNamespace(fetch=fetch)  # type: ignore[assignment]
    run = asyncio.create_task(bench.driver.run(NEXT, train=False))
    await turns()
    for number in range(50, 90):
        bench.driver.deliver(signed_contribution(EVENT, NEXT, number)[0])
    known = next(number for number in range(1, 9) if identity(number).peer_id in members)
    bench.driver.deliver(signed_contribution(EVENT, NEXT, known)[0])
    await turns(200)
    run.cancel()
    await asyncio.wait([run])
    assert fetched[-1] == identity(known).peer_id
    assert len(fetched) == 1 + 8


def odd(body: object) -> Signed:
    """An envelope with a good signature over any body."""
    data = encode(body) if not isinstance(body, bytes) else body
    me = identity(3)
    return Signed(
        kind="progress", signer=me.peer_id, body=data, signature=me.sign(_signed_bytes("progress", me.peer_id, data))
    )


BASES: list[Any] = [{}, {"a": []}, [[], {}], 5, b"short", None]
ODD = [b"", b"\xc1", {}, [], 7, *({"base": base} for base in BASES)]


@pytest.mark.parametrize("body", ODD, ids=repr)
async def test_no_body_stops_the_driver(bench: Bench, body: object) -> None:
    bench.driver.deliver(odd(body))
    assert isinstance(await bench.driver.run(bench.history.root, train=True), Finalised)
    assert bench.refused("malformed") == 1
    assert bench.faults == [(identity(3).peer_id, "malformed")]


async def test_a_flood_loses_neither_our_own_answers_nor_time(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(round_driver, "_INBOX", 50)
    noise = [progress(3, bench.history.root, sequence) for sequence in range(60)]
    for signed in noise:
        bench.driver.deliver(signed)
    assert bench.refused("rate_limited") == 10
    assert isinstance(await bench.driver.run(bench.history.root, train=True), Finalised)


async def test_a_flood_of_large_messages_is_bounded_by_its_bytes(bench: Bench) -> None:
    large = odd({"padding": bytes(50_000)})
    for _ in range(2000):
        bench.driver.deliver(large)
    assert bench.driver._inbox.qsize() * 50_000 <= 32 << 20
    assert bench.refused("rate_limited") > 1000
    assert isinstance(await bench.driver.run(bench.history.root, train=True), Finalised)
    bench.driver.deliver(large)
    assert bench.driver._inbox.qsize() == 1


async def test_deadlines_pass_while_messages_never_end(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(round_driver, "_now", lambda: now)
    bench.trains_at_once = False
    run = asyncio.create_task(bench.driver.run(bench.history.root, train=True))
    await turns()
    sent = len(bench.sent)
    machine = bench.driver.machine
    assert machine is not None
    now = (machine.next_deadline() or 0.0) + 0.1
    bench.driver.deliver(progress(3, bench.history.root))
    await turns(3)
    assert len(bench.sent) > sent
    run.cancel()
    await asyncio.wait([run])


async def test_memory_for_messages_is_bounded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(round_driver, "_INBOX", 3000)
    early = progress(1, NEXT)
    for _ in range(round_driver._INBOX + 10):
        bench.driver.deliver(early)
    assert len(bench.driver._early) == 2048
    assert bench.driver._inbox.qsize() == round_driver._INBOX


async def test_a_refusal_is_counted_and_the_peer_blamed(bench: Bench) -> None:
    await bench.driver._do(NO_ROUND, Refused("p", "equivocation", "why"))
    assert bench.faults == [("p", "equivocation")]
    assert bench.refused("equivocation") == 1


@pytest.mark.parametrize("reason", ["bad_signature", "unknown_kind"])
async def test_nobody_is_blamed_for_what_anyone_could_have_written(bench: Bench, reason: str) -> None:
    await bench.driver._do(NO_ROUND, Refused("p", reason))
    assert bench.faults == []
    assert bench.refused(reason) == 1


# What goes wrong here


async def test_a_bug_in_a_task_comes_out_of_run(bench: Bench) -> None:
    async def bug() -> bytes:
        raise ZeroDivisionError("a bug")

    bench.merge = bug
    with pytest.raises(ZeroDivisionError, match="a bug"):
        await bench.driver.run(bench.history.root, train=True)
    assert only_this_task()


@pytest.mark.parametrize("error", [Unavailable("gone"), RemoteFailure("bad_payload", "no"), ChannelClosed("died")])
async def test_a_merge_that_fails_is_tried_again_and_stops_nothing(bench: Bench, error: Exception) -> None:
    failures = [error]

    async def fail_once() -> bytes:
        if failures:
            raise failures.pop()
        return sha256(b"merged")

    bench.merge = fail_once
    assert isinstance(await bench.driver.run(bench.history.root, train=True), Finalised)
    assert bench.done.count("merge 1") == 2


async def test_a_cancelled_run_leaves_no_task(bench: Bench) -> None:
    bench.trains_at_once = False
    run = asyncio.create_task(bench.driver.run(bench.history.root, train=True))
    await turns()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert only_this_task()


async def test_a_contribution_that_comes_too_late_is_no_error(bench: Bench) -> None:
    late = asyncio.Event()

    async def slow(base: Commit) -> Contribution:
        await late.wait()
        return contribution(EVENT, base, b"ours")

    async def ask(peer: str) -> bool:
        return [bench.history.add(*step) for step in CHAIN][-1]

    bench.contribute, bench.ask = slow, ask
    run = asyncio.create_task(bench.driver.run(bench.history.root, train=True))
    await turns()
    bench.driver.deliver(progress(2, NEXT))
    assert isinstance(await run, Overtaken)
    for commit, proof in CHAIN:
        bench.store.add_commit(commit, proof)
    run = asyncio.create_task(bench.driver.run(CHAIN[-1][0], train=False))
    late.set()
    await turns()
    assert not run.done()
    assert "contribution" not in bench.kinds()
    run.cancel()
    await asyncio.wait([run])
    assert only_this_task()


@pytest.mark.parametrize("error", [RemoteFailure("no_data", "none"), ChannelClosed("died")])
async def test_a_worker_that_cannot_train_stops_nothing(bench: Bench, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(bench, "_train", fail)
    run = asyncio.create_task(bench.driver.run(bench.history.root, train=True))
    await turns()
    bench.driver.notice(messages.Failed(code="diverged", text="the loss is not finite"))
    await turns()
    assert not run.done()
    bench.driver.notice(trained(0))
    assert isinstance(await run, Finalised)


async def test_a_restarted_worker_trains_on(bench: Bench) -> None:
    bench.driver.resume()
    bench.trains_at_once = False
    run = asyncio.create_task(bench.driver.run(bench.history.root, train=True))
    await turns()
    bench.driver.resume()
    await turns()
    assert bench.done.count("train 0 from 0 with 1") == 2
    bench.driver.notice(trained(0))
    assert isinstance(await run, Finalised)


async def test_progress_is_told_now_and_then_and_that_of_another_round_is_not(bench: Bench) -> None:
    bench.trains_at_once = False
    run = asyncio.create_task(bench.driver.run(bench.history.root, train=True))
    await turns()
    told = len(bench.sent)
    for _ in range(5):
        bench.driver.notice(trained(0, done=False))
    bench.driver.notice(trained(7))
    await turns()
    assert len(bench.sent) == told
    assert bench.driver.training is not None
    assert not run.done()
    bench.driver.notice(trained(0))
    assert isinstance(await run, Finalised)


async def test_goodbye_is_said_once_there_is_a_round(bench: Bench) -> None:
    await bench.driver.goodbye()
    assert bench.sent == []
    await bench.driver.run(bench.history.root, train=True)
    await bench.driver.goodbye()
    assert bench.sent[-1].open_as(Goodbye).round == 0


async def test_an_interrupted_round_ends_and_can_be_taken_up_again(bench: Bench) -> None:
    bench.driver.interrupt()  # none runs: the next one is not meant
    bench.trains_at_once = False
    running = asyncio.create_task(bench.driver.run(bench.history.root, train=True))
    await until(lambda: bool(bench.done) and bench.done[-1].startswith("train"))
    bench.driver.interrupt()
    assert await running == Interrupted()
    bench.driver.resume()  # nothing to train on until the next round is begun
    await asyncio.sleep(0)
    assert sum(done.startswith("train") for done in bench.done) == 1
    bench.trains_at_once = True
    assert isinstance(await bench.driver.run(bench.history.root, train=True), Finalised)


async def test_what_waits_and_what_comes_in_while_it_runs_stands_in_the_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gated = event(EVENT.rounds, gate=(LossGate(name="poetry", kind="loss", rounds=False),))
    monkeypatch.setattr(drivekit, "EVENT", gated)
    bench = Bench(tmp_path / "gated")
    made = verdict(event=gated.digest)
    first, second = ((sign_verdict(identity(number), made), made) for number in (1, 2))
    waiting = [first]
    bench.driver._tools.waiting_verdicts = lambda: waiting
    contributed = bench.contribute

    async def contribute(base: Commit) -> Contribution | None:
        waiting.append(second)
        bench.driver.know_verdicts()
        return await contributed(base)

    bench.contribute = contribute
    outcome = await bench.driver.run(bench.history.root, train=True)
    assert isinstance(outcome, Finalised)
    assert set(outcome.commit.verdicts) == {first[0].encode(), second[0].encode()}
    bench.store.close()
