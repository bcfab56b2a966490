"""A release runs the event's gates against the last one, and other peers' verdicts count as well."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from history_integrity.samples import Sample, make_sample
from typer.testing import CliRunner, Result

from collab.node.cli.app import app
from collab.protocol.gates import Case, ExactGate, LossGate
from collab.protocol.identity import Identity
from collab.protocol.verdict import Measurement, Verdict, sign_verdict

GATES = (
    LossGate(name="held-out", kind="loss", path="text.txt", tolerance=0.5),
    ExactGate(name="words", kind="exact", cases=(Case(input="merge ", output="r"),), tolerance=1.0),
)
PEER = Identity(bytes(31) + b"\x63")


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    return make_sample(tmp_path / "history", 2, gate=GATES)


@pytest.fixture
def run(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    for variable, value in (("HOME", sample.home.path), ("DATA_DIR", sample.data), ("CACHE_DIR", sample.home.path / "cache")):
        monkeypatch.setenv(f"COLLAB_{variable}", str(value))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(sample.home.path / "config"))
    return lambda *words: CliRunner().invoke(app, ["release", *map(str, words), "--json"], prog_name="collab-node")


def bad_verdict(sample: Sample, path: Path) -> Path:
    measured = Measurement(
        gate="held-out", kind="loss", base=1.0, candidate=3.0, change=2.0, low=1.9, high=2.1, tolerance=0.5, samples=64,
        batches=4, passed=False, reason="worse",
    )  # fmt: skip
    verdict = Verdict(
        event=sample.event.digest, candidate=sample.commit(2).state, against=sample.commit(1).state, data=None, hardware="cpu",
        measurement=measured,
    )  # fmt: skip
    path.write_text(json.dumps({"gates": [{"verdict": sign_verdict(PEER, verdict).encode().hex()}]}))
    return path


def told(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_gates_are_evidence_and_a_peers_bad_verdict_makes_it_major(
    sample: Sample, run: Callable[..., Result], tmp_path: Path
) -> None:
    told(run("@1"))
    alone = told(run("@2", "--dry-run"))
    assert {verdict["gate"]: verdict["peer"] for verdict in alone["verdicts"]} == dict.fromkeys(
        ["held-out", "words"], sample.identity.peer_id
    )
    assert [task["passed"] for task in alone["evidence"]["tasks"]] == [True, True]
    warned = told(run("@2", "--verdicts", bad_verdict(sample, tmp_path / "verdict.json")))
    assert (warned["version"], warned["reason"]) == ("2.0.0", "held-out got significantly worse")
    assert PEER.peer_id in [verdict["peer"] for verdict in warned["verdicts"]]
