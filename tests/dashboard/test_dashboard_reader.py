"""What the page shows of a home, whether a daemon runs in it or not."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from bench_people.simulated import answering
from dashboard.kit import StoredHome, chain_with_gates, measured, release_as_first, run_gate_here
from hypothesis import given
from hypothesis import strategies as st
from store_samples import COORDINATOR, Chain

from collab.node.credit.leaderboard import count_credits, remember_names
from collab.node.dashboard.export import export_page
from collab.node.dashboard.ledger import Ledger, RoundLine
from collab.node.dashboard.people import peer_rows
from collab.node.dashboard.values import thinned
from collab.node.display.view import NodeView
from collab.node.errors import UserError
from collab.node.rounds import held_out
from collab.node.store import Store
from collab.protocol.amendments import Announce, Extend, Pause
from collab.protocol.commit import Commit, Rejected, root_commit
from collab.protocol.gates import Case, ExactGate
from collab.protocol.identity import Identity

ME = COORDINATOR.peer_id


def with_refusal(chain: Chain, reason: str) -> Commit:
    """The next commit, which also refuses a contribution."""
    envelope, _ = chain.contribution(chain.head, b"refused")
    commit = chain.child(chain.head).model_copy(update={"rejected": (Rejected(envelope=envelope.encode(), reason=reason),)})
    chain.head = commit
    return commit


def test_a_stopped_node_shows_its_history(stored: StoredHome) -> None:
    stored.grow(3)
    state = stored.reader().read()
    totals = state.values["totals"]
    assert (totals["round"], totals["samples"], totals["size"], totals["accepted"]) == (3, 480, 21, 3)
    assert totals["commit"] == stored.chain.head.digest.hex()
    assert state.values["node"]["running"] is False
    assert state.values["node"]["message"].startswith("does not run")
    assert str(stored.home.path) not in str(state)
    assert list(state.tables["rounds"]) == ["0", "1", "2", "3"]
    assert state.tables["rounds"]["2"]["seconds"] == 60
    assert state.tables["peers"][ME]["samples"] == 480
    assert state.tables["peers"][ME]["self"]


def test_what_coordinators_decided_is_shown_whether_a_node_runs_or_not(stored: StoredHome) -> None:
    stored.grow(3)
    reader = stored.reader()
    assert reader.read().values["event"]["announcements"] == []
    stored.decide(Extend(last_round=9), Announce(text="tea at nine"), Pause(reason="a look"))
    event = reader.read().values["event"]
    assert (event["last_round"], event["over"], event["announcements"]) == (9, False, ["tea at nine"])
    assert event["paused"] == "the coordinators paused the event: a look"
    assert event["decided"] == "the event ends after round 9"
    stored.grow(6)
    assert reader.read().values["event"]["over"]


def test_a_home_without_history_has_an_empty_page(stored: StoredHome) -> None:
    (stored.folder.store_path / "index.sqlite").unlink()
    state = stored.reader().read()
    assert state.values["totals"]["round"] == 0
    assert state.tables["rounds"] == {}


def test_new_commits_are_added_and_another_branch_replaces(stored: StoredHome) -> None:
    stored.grow(2)
    reader = stored.reader()
    reader.read()
    stored.grow()
    assert reader.read().values["totals"]["round"] == 3
    branch = [stored.chain.child(stored.chain.root, "other")]
    branch.append(stored.chain.child(branch[0], "other"))
    stored.add(*branch)
    state = reader.read()
    assert state.values["totals"]["commit"] == branch[1].digest.hex()
    assert state.values["totals"]["accepted"] == 2
    assert list(state.tables["rounds"]) == ["0", "1", "2"]


def test_a_damaged_history_shows_what_could_be_read_and_is_not_exported(stored: StoredHome, tmp_path: Path) -> None:
    stored.grow(2)
    reader = stored.reader()
    assert reader.read().values["reading"] == {"read": 3, "left": 0, "fails": False}
    stored.grow()
    with Store.open(stored.folder.store_path) as store:
        path = store.blobs.path(stored.chain.head.digest)
    whole = path.read_bytes()
    for damaged in (b"", whole[:-1], bytes(len(whole))):
        path.write_bytes(damaged)
        state = reader.read()
        assert state.values["reading"] == {"read": 3, "left": 0, "fails": True}
        assert state.values["totals"]["round"] == 2
    with pytest.raises(UserError, match="cannot be read"):
        export_page(stored.reader(), tmp_path / "page")
    path.write_bytes(whole)
    assert reader.read().values["totals"]["round"] == 3


def test_refusals_say_who_and_why_in_words(stored: StoredHome, chain: Chain) -> None:
    stored.add(with_refusal(chain, "non_finite"), with_refusal(chain, "made-up"))
    state = stored.reader().read()
    assert state.values["reasons"] == {"the update holds values that are not numbers": 1, "made-up": 1}
    assert [row["peer"] for row in state.tables["refusals"].values()] == [ME, ME]
    assert state.tables["peers"][ME]["refused"] == 2


def test_gates_tags_and_names_are_shown(tmp_path: Path) -> None:
    chain = Chain()
    gate = ExactGate(name="greets", kind="exact", cases=(Case(input="a", output="b"),))
    chain.event = chain.event.model_copy(update={"gate": (gate,)})
    chain.root = chain.head = root_commit(chain.event)
    stored = StoredHome(tmp_path / "home", chain)
    stored.add(with_refusal(chain, "gate.greets"))
    with Store.open(stored.folder.store_path) as store:
        store.refs.update("tags/v1", chain.head.digest, None)
        remember_names(store, [(ME, "Rabi")], [ME])
    state = stored.reader().read()
    (gate,) = state.values["gates"]
    assert gate == {"name": "greets", "kind": "exact", "rounds": True, "refused": 1, "run": 0, "passed": 0, "newest": ""}
    assert state.tables["tested"] == {"1": {"round": 1, "results": [], "kept_out": {"greets": 1}}}
    assert state.values["reasons"] == {"the candidate with it failed the gate greets": 1}
    assert state.values["tags"] == {"v1": chain.head.digest.hex()}
    assert state.tables["peers"][ME]["name"] == "Rabi"


def test_credit_is_what_the_command_says(stored: StoredHome, chain: Chain) -> None:
    stored.grow(2)
    stored.add(with_refusal(chain, "late"))
    with Store.open(stored.folder.store_path) as store:
        (credit,) = count_credits(chain.event, store, chain.head).ranking()
    row = stored.reader().read().tables["peers"][ME]
    assert (row["samples"], row["accepted"], row["refused"], row["checked"], row["size"], row["gates"], row["served"]) == (
        credit.samples, credit.contributions, credit.refused, credit.checked, credit.bytes, credit.gates, credit.served,
    )  # fmt: skip


def test_held_out_losses_are_shown_by_round(stored: StoredHome) -> None:
    stored.grow(2)
    with Store.open(stored.folder.store_path) as store:
        held_out.keep(store, 1, 3.5)
        held_out.keep(store, 2, 3.25)
        held_out.keep(store, 2, 3.125)
    assert stored.reader().read().tables["held_out"] == {"1": {"loss": 3.5}, "2": {"loss": 3.125}}


def test_a_running_node_tells_who_is_here(stored: StoredHome) -> None:
    stored.grow()
    other = Identity(bytes(31) + b"\2").peer_id
    swarm: dict[str, Any] = {
        "peers": {ME: {"trains": False}, other: {"trains": True, "rate": 12.3456, "gossip": True, "version": "1"}},
        "committee": [ME], "parts": {"dht": True},
    }  # fmt: skip
    view = NodeView("sample", stored.chain.event.digest.hex(), ME, phase="training", addresses=("/ip4/10.0.0.1",))
    with answering(stored.home, {"status": view.to_dict, "swarm": lambda: swarm}):
        state = stored.reader().read()
    assert state.values["node"]["running"]
    assert "addresses" not in state.values["node"]
    assert state.values["parts"] == {"dht": True}
    row = state.tables["peers"][other]
    assert (row["here"], row["trains"], row["rate"], row["gossip"], row["committee"]) == (True, True, 12.3, True, False)
    assert state.tables["peers"][ME]["committee"]


def test_a_daemon_that_refuses_or_is_in_another_event_does_not_break_the_page(stored: StoredHome) -> None:
    stored.grow()
    other = NodeView("other", "00" * 32, ME)
    for answers in ({}, {"status": other.to_dict}):
        with answering(stored.home, answers):
            state = stored.reader().read()
        assert state.values["node"]["running"] is False
        assert state.values["totals"]["round"] == 1


@given(st.integers(0, 5000))
def test_old_rounds_are_thinned_and_new_ones_are_not(count: int) -> None:
    lines = [RoundLine(n, "", b"", 0, 0, None, 0, 0, 0, 0, 0, 0, "average", False, "", {}) for n in range(count)]
    kept = [line.round for line in thinned(lines)]
    assert len(kept) <= 480
    assert kept[-60:] == list(range(count))[-60:]
    assert kept[:1] == list(range(count))[:1]


def test_of_too_many_peers_those_who_are_here_stay() -> None:
    here: dict[str, Any] = {f"here-{number}": {} for number in range(100)}
    ledger = Ledger(Chain().event)
    swarm = {"peers": here | {f"z-{number}": {} for number in range(1000)}}
    rows = peer_rows(ledger, swarm, "here-0", {})
    assert len(rows) == 512
    assert here.keys() <= rows.keys()


@pytest.mark.parametrize("note", [b"", b"nonsense", b"\x91\xc0", b"\x91\x92\x01\xa1x"])
def test_a_damaged_note_is_no_measurement(stored: StoredHome, note: bytes) -> None:
    with Store.open(stored.folder.store_path) as store:
        store.put_note("held_out", note)
        assert held_out.read(store) == {}


def test_measurements_are_bounded(stored: StoredHome) -> None:
    with Store.open(stored.folder.store_path) as store:
        with store.transaction():
            for round in range(2100):
                held_out.keep(store, round, 1.0) if round > 2040 else None
        losses = held_out.read(store)
    assert max(losses) == 2099
    assert len(losses) == 59


# Gates and releases


@pytest.fixture
def tested(tmp_path: Path) -> StoredHome:
    """A home with two commits that its node has tested, and a third that it has not."""
    stored = StoredHome(tmp_path / "home", chain_with_gates())
    stored.grow(3)
    for round, passed in ((1, True), (2, False)):
        with Store.open(stored.folder.store_path) as store:
            commit = store.commit(store.at_round(round) or b"")
        run_gate_here(stored, commit, measured(passed=passed))
    return stored


def test_what_the_gates_showed_of_each_commit_is_shown(tested: StoredHome) -> None:
    state = tested.reader().read()
    held_out, poetry = state.values["gates"]
    assert (held_out["run"], held_out["passed"], held_out["rounds"]) == (2, 1, True)
    assert held_out["newest"] == "held-out failed: loss 0.2 worse where 0.01 worse is allowed"
    assert (poetry["run"], poetry["newest"], poetry["rounds"]) == (0, "", False)
    assert list(state.tables["tested"]) == ["1", "2"]
    assert state.tables["tested"]["2"]["results"] == [
        {"gate": "held-out", "passed": False, "clear": True, "words": held_out["newest"]}
    ]


def test_a_new_result_appears(tested: StoredHome) -> None:
    reader = tested.reader()
    reader.read()
    run_gate_here(tested, tested.chain.head, measured(clear=False))
    (result,) = reader.read().tables["tested"]["3"]["results"]
    assert (result["passed"], result["clear"]) == (True, False)
    reader.close()


def test_a_release_is_shown_with_who_stands_for_its_verdicts(tested: StoredHome) -> None:
    reader = tested.reader()
    assert reader.read().tables["releases"] == {}
    release_as_first(tested, tested.chain.head)
    state = reader.read()
    row = state.tables["releases"]["1.0.0"]
    assert (row["commit"], row["round"], row["why"], row["message"]) == (
        tested.chain.head.digest.hex(), 3, "the first release", "It rhymes.",
    )  # fmt: skip
    assert (row["peers"], [verdict["gate"] for verdict in row["verdicts"]]) == (1, ["poetry"])
    assert row["verdicts"][0]["peer"] == ME
    assert state.values["releases"] == {"problem": ""}
    assert reader.read() == state
    reader.close()


def test_releases_that_nobody_vouches_for_any_more_are_not_shown(tested: StoredHome) -> None:
    release_as_first(tested, tested.chain.head, datetime.now(UTC).replace(microsecond=0) - timedelta(days=90))
    state = tested.reader().read()
    assert state.tables["releases"] == {}
    assert "stale" in state.values["releases"]["problem"]


def test_the_exported_page_has_gates_and_releases_too(tested: StoredHome, tmp_path: Path) -> None:
    release_as_first(tested, tested.chain.head)
    export_page(tested.reader(), tmp_path / "site")
    data = json.loads((tmp_path / "site" / "data.json").read_text())
    assert list(data["tables"]["releases"]) == ["1.0.0"]
    assert list(data["tables"]["tested"]) == ["1", "2"]
