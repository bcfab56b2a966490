"""A release needs verdicts of as many peers as its gates ask for; what they contradict each other in is not released silently."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gates.test_gates_verdict import measurement
from history_integrity.samples import Sample, carry, make_sample
from typer.testing import CliRunner, Result

from collab.node.cli.app import app
from collab.node.releases.publish import Desk
from collab.protocol.errors import LocalProtocolError
from collab.protocol.gates import Case, ExactGate, LossGate
from collab.protocol.identity import Identity
from collab.protocol.verdict import Measurement, Verdict, contradictions, sign_verdict, too_few

GATES = (
    LossGate(name="held-out", kind="loss", path="text.txt", tolerance=0.5, verdicts=2),
    ExactGate(name="words", kind="exact", cases=(Case(input="merge ", output="r"),), tolerance=1.0),
)
PEER, DOUBTER = (Identity(bytes(31) + bytes([number])) for number in (0x63, 0x64))
PASSED = measurement(gate="held-out", change=-0.1, tolerance=0.5)
FAILED = measurement(gate="held-out", change=2.0, low=1.9, high=2.1, tolerance=0.5, passed=False, reason="worse")
Run = Callable[..., Result]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return make_sample(tmp_path_factory.mktemp("history"), 2, gate=GATES)


@pytest.fixture
def run(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> Run:
    for variable, value in (("HOME", sample.home.path), ("DATA_DIR", sample.data), ("CACHE_DIR", sample.home.path / "cache")):
        monkeypatch.setenv(f"COLLAB_{variable}", str(value))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(sample.home.path / "config"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return lambda *words: CliRunner().invoke(app, [*map(str, words)], prog_name="collab-node")


def verdict(sample: Sample, measured: Measurement, **changes: Any) -> Verdict:
    fields: dict[str, Any] = {
        "event": sample.event.digest, "candidate": sample.commit(2).state, "against": sample.commit(1).state, "data": None,
        "hardware": "cpu", "measurement": measured,
    }  # fmt: skip
    return Verdict(**(fields | changes))


def file_of(path: Path, signer: Identity, said: Verdict) -> Path:
    path.write_text(json.dumps({"gates": [{"verdict": sign_verdict(signer, said).encode().hex()}]}))
    return path


def told(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def refused(result: Result) -> str:
    assert result.exit_code == 1, result.output
    assert len(result.stderr.splitlines()) <= 2
    return result.stderr


def test_verdicts_of_peers_decide_about_a_release(sample: Sample, run: Run, tmp_path: Path) -> None:
    told(run("release", "@1", "--json"))
    assert "gate held-out has verdicts of 1 peer, and 2 are needed" in refused(run("release", "@2"))

    good = file_of(tmp_path / "good", PEER, verdict(sample, PASSED))
    doubted = verdict(sample, FAILED, hardware="\x1b[2J[red]")
    bad = file_of(tmp_path / "bad", DOUBTER, doubted)
    assert run("verdict", "add", good).stdout == "1 new verdict, 0 known\n"
    assert run("verdict", "add", good).stdout == "0 new verdicts, 1 known\n"
    assert "gate words has verdicts of 1 peer, and 2 are needed" in refused(run("release", "@2", "--require", "2"))
    run("verdict", "add", bad)
    line = f"held-out passed says {PEER.peer_id}, failed says {DOUBTER.peer_id}"
    assert f"verdicts contradict each other: {line}" in refused(run("release", "@2"))
    listed = told(run("verdicts", "@2", "--json"))
    assert listed["contradictions"] == [line]
    assert {row["peer"]: row["passed"] for row in listed["verdicts"]} == {PEER.peer_id: True, DOUBTER.peer_id: False}
    shown = run("verdicts", "@2").stdout
    assert "FAILED" in shown
    assert "\x1b[2J" not in shown
    assert "contradiction: held-out passed says" in shown

    warned = told(run("release", "@2", "--despite-contradictions", "a broken disk there", "--dry-run", "--json"))
    assert (warned["version"], warned["reason"]) == ("2.0.0", "held-out got significantly worse")
    assert warned["despite"] == "a broken disk there"
    (doubt,) = [row["verdict"] for row in listed["verdicts"] if not row["passed"]]
    assert DOUBTER.peer_id in run("verdict", "drop", doubt[:12], "@2").stdout
    carry(sample, *(sign_verdict(*each) for each in ((PEER, verdict(sample, PASSED)), (DOUBTER, doubted))))
    assert run("verdict", "add", good).stdout == "0 new verdicts, 1 known\n"  # it is in the history now, and counts all the same
    assert {row["peer"] for row in told(run("verdicts", "@2", "--json"))["verdicts"]} == {PEER.peer_id}
    assert "tests  2 verdicts of 2 peers on earlier versions" in run("show").stdout
    assert {row["peer"] for row in told(run("show", "--json"))["carried"]} == {PEER.peer_id, DOUBTER.peer_id}
    assert run("log", "--oneline", "-n", "1").stdout.endswith(", 2 verdicts\n")
    assert [run(command).exit_code for command in ("verify", "fsck")] == [0, 0]
    made = told(run("release", "@2", "--json"))
    assert {(row["gate"], row["peer"]) for row in made["verdicts"]} == {
        ("held-out", PEER.peer_id), ("held-out", sample.identity.peer_id), ("words", sample.identity.peer_id)
    }  # fmt: skip
    assert made["despite"] == ""

    with sample.store(read_only=True) as store:
        (released, _) = Desk(sample.folder, sample.event, store).known()
    alone = released.model_copy(update={"verdicts": released.verdicts[:1]})
    with pytest.raises(LocalProtocolError, match="are needed"):
        alone.check_verdicts(sample.event)
    both = (*released.verdicts, sign_verdict(DOUBTER, verdict(sample, FAILED)).encode())
    with pytest.raises(LocalProtocolError, match="held-out passed says"):
        released.model_copy(update={"verdicts": both}).check_verdicts(sample.event)
    released.model_copy(update={"verdicts": both, "despite": "why"}).check_verdicts(sample.event)


def test_tasks_of_two_versions_stand_side_by_side(sample: Sample, run: Run) -> None:
    tasks = told(run("diff", "@1", "@2", "--tasks", "--json"))["tasks"]
    assert [(task["gate"], task["kind"]) for task in tasks] == [("held-out", "loss"), ("words", "exact")]
    assert tasks[0]["low"] < tasks[0]["change"] < tasks[0]["high"]
    assert tasks[0]["candidate"] - tasks[0]["base"] == pytest.approx(tasks[0]["change"])


def test_a_verdict_that_is_none_or_about_something_else_is_refused(sample: Sample, run: Run, tmp_path: Path) -> None:
    for changes, problem in (
        ({"event": bytes(32)}, "belongs to another event"),
        ({"candidate": bytes(32)}, "is about a version that is not here"),
        ({"against": bytes(32)}, "is about a version that is not here"),
    ):
        assert problem in refused(run("verdict", "add", file_of(tmp_path / "odd", PEER, verdict(sample, PASSED, **changes))))
    whole = file_of(tmp_path / "cut", PEER, verdict(sample, PASSED)).read_text()
    for spoilt in ("", "{}", "[]", whole[:-60], whole.replace("gates", "rows"), whole.replace('": "', '": "00'), "\xff" * 4):
        (tmp_path / "cut").write_text(spoilt)
        assert "holds no signed verdicts" in refused(run("verdict", "add", tmp_path / "cut"))
    assert "cannot read" in refused(run("verdict", "add", tmp_path / "none"))
    assert "no verdict's id begins with" in refused(run("verdict", "drop", "beef", "@2"))


def test_who_said_what_is_counted_by_peer_and_contradictions_need_clear_answers(sample: Sample) -> None:
    said = [(PEER.peer_id, "held-out"), (PEER.peer_id, "held-out"), (PEER.peer_id, "words")]
    assert too_few(GATES, said) == "gate held-out has verdicts of 1 peer, and 2 are needed"
    assert too_few(GATES, [*said, (DOUBTER.peer_id, "held-out")]) is None
    unclear = measurement(gate="held-out", passed=False, reason="unclear", change=0.6, tolerance=0.5)
    opened = [(PEER.peer_id, verdict(sample, PASSED)), (DOUBTER.peer_id, verdict(sample, unclear))]
    assert contradictions(opened) == []
    assert len(contradictions([*opened, (DOUBTER.peer_id, verdict(sample, FAILED))])) == 1
    elsewhere = verdict(sample, FAILED, against=bytes(32))
    assert contradictions([*opened, (DOUBTER.peer_id, elsewhere)]) == []
