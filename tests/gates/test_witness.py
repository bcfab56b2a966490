"""A node's own word on final commits: run if need be, signed, kept, and read back."""

from __future__ import annotations

from pathlib import Path

import pytest
from daemon.kit import grow
from gates.test_gatekeeper import GATE, MADE_UP, MadeUp
from gates.test_gates_verdict import measurement
from rounds.worlds import event, identity

from collab.node.gates import own_verdicts
from collab.node.gates.run import Result
from collab.node.gates.witness import Witness
from collab.node.processes.ipc import RemoteFailure
from collab.node.store import Store
from collab.protocol.canonical import encode
from collab.protocol.commit import Commit
from collab.protocol.history import History
from collab.protocol.messages import Signed
from collab.protocol.verdict import open_verdict


class Seat:
    """A witness over a store, and a history with one final commit."""

    def __init__(self, folder: Path, *, fails: bool = False) -> None:
        self.made = MadeUp(lambda group: fails)
        self.store = Store.open(folder)
        self.history = History(MADE_UP)
        self.commit, certificate = grow(self.history, self.history.root.digest, b"one")
        self.history.add(self.commit, certificate)
        self.witness = Witness(MADE_UP, identity(0), self.history, self.store, self.made.keeper)

    async def candidate(self) -> Commit:
        """The commit, with the state hash that the made-up merge gives it."""
        found = await self.made.keeper.test(self.commit, self.history.ancestry(self.commit.base))
        assert [measured.gate for measured in found] == [GATE.name]
        (state,) = self.made.keeper._shown
        self.made.keeper.take_shown(state)
        self.made.asked.clear()
        return self.commit.model_copy(update={"state": state})


async def test_who_does_not_train_runs_the_gates_and_keeps_a_signed_verdict(tmp_path: Path) -> None:
    seat = Seat(tmp_path)
    commit = await seat.candidate()
    await seat.witness.see(commit, tests=True)
    assert len(seat.made.asked) == 1
    assert own_verdicts.read(seat.store.note(own_verdicts.NOTE))[commit.state][GATE.name].passed
    (envelope,) = own_verdicts._envelopes(seat.store.note(own_verdicts.NOTE))
    signed = Signed.decode(envelope)
    verdict = open_verdict(signed)
    assert (signed.signer, verdict.candidate, verdict.against) == (identity(0).peer_id, commit.state, seat.history.root.state)


async def test_what_was_run_for_a_vote_is_not_run_again(tmp_path: Path) -> None:
    seat = Seat(tmp_path)
    commit = await seat.candidate()
    await seat.made.keeper.test(commit, seat.history.ancestry(commit.base))
    await seat.witness.see(commit, tests=True)
    assert len(seat.made.asked) == 1


async def test_who_trains_runs_nothing_for_others(tmp_path: Path) -> None:
    seat = Seat(tmp_path)
    await seat.witness.see(await seat.candidate(), tests=False)
    assert seat.made.asked == []
    assert seat.store.note(own_verdicts.NOTE) is None


async def test_a_gate_that_fails_is_told_as_it_is(tmp_path: Path) -> None:
    seat = Seat(tmp_path, fails=True)
    commit = await seat.candidate()
    await seat.witness.see(commit, tests=True)
    assert not own_verdicts.read(seat.store.note(own_verdicts.NOTE))[commit.state][GATE.name].passed


async def test_a_gate_that_cannot_be_run_stops_nothing(tmp_path: Path) -> None:
    seat = Seat(tmp_path)
    commit = await seat.candidate()
    seat.made.errors = [RemoteFailure("no_data", "text.txt is not in the data folder")]
    await seat.witness.see(commit, tests=True)
    assert seat.store.note(own_verdicts.NOTE) is None


async def test_an_event_without_gates_costs_nothing(tmp_path: Path) -> None:
    seat = Seat(tmp_path)
    history = History(event())
    witness = Witness(event(), identity(0), history, seat.store, seat.made.keeper)
    await witness.see(grow(history, history.root.digest, b"one")[0], tests=True)
    assert seat.made.asked == []


async def test_the_newest_verdicts_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_verdicts, "_MOST", 2)
    seat = Seat(tmp_path)
    base = seat.history.root
    for number in range(3):
        commit = seat.commit.model_copy(update={"state": bytes([number]) * 32})
        result = Result(measurement(gate=GATE.name), bytes(32), "cpu")
        own_verdicts.keep(seat.store, [result.sign(identity(0), MADE_UP, commit, base)])
    assert set(own_verdicts.read(seat.store.note(own_verdicts.NOTE))) == {bytes([1]) * 32, bytes([2]) * 32}


@pytest.mark.parametrize("note", [None, b"", b"\xff", encode(1), encode([1, b"no envelope"])])
def test_a_note_that_is_not_ours_holds_nothing(note: bytes | None) -> None:
    assert own_verdicts.read(note) == {}
