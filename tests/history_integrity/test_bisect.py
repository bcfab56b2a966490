"""`bisect` finds the commit that broke a metric in ⌈log₂ n⌉ evaluations, and goes on after kill -9."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from history_integrity.samples import Sample, killed_at, make_sample
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import Result

from collab.node.errors import UserError
from collab.node.history.bisect import half_way, narrowed
from collab.node.history.bisect_state import Limit, Question, State, StateFile
from collab.protocol.event import Merge
from collab.protocol.gates import LossGate

Run = Callable[..., Result]
ROUNDS, BROKEN = 11, 7
GATE = LossGate(name="held-out", kind="loss", path="text.txt", tolerance=0.5)


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """A history in which somebody sent noise in round 7."""
    return make_sample(tmp_path_factory.mktemp("broken"), ROUNDS, broken=BROKEN, merge=Merge(max_norm=1000.0), gate=(GATE,))


def found(done: Result) -> dict[str, Any]:
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    assert isinstance(answer, dict)
    return answer


def test_it_finds_what_broke_the_loss(run: Run, sample: Sample) -> None:
    answer = found(run("bisect", "@3", "HEAD", "--gate", "loss", "--json"))
    assert (answer["round"], answer["commit"]) == (BROKEN, sample.commit(BROKEN).digest.hex())
    assert (answer["versions"], answer["ends_evaluated"]) == (ROUNDS - 3, 2)
    assert answer["evaluations"] <= math.ceil(math.log2(ROUNDS - 3))
    assert answer["value_before"] < answer["threshold"] < answer["value"]
    threshold = answer["threshold"]
    done = run("bisect", "@3", "HEAD", "--gate", "loss", "--above", threshold)
    assert done.exit_code == 0, done.output
    *lines, last, commit = done.stdout.splitlines()
    assert "versions left, " in lines[0]
    assert "nothing broke between them" in run("bisect", "@3", f"@{BROKEN - 1}", "--gate", "held-out").stderr
    assert lines[-1].endswith("that decides it")
    assert f"of round {BROKEN} is the first bad one; {len(lines)} of {ROUNDS - 3} versions were evaluated" in last
    assert len(lines) <= math.ceil(math.log2(ROUNDS - 3))
    assert f" round {BROKEN}, " in commit


def test_a_gate_of_the_event_is_a_metric(run: Run, sample: Sample) -> None:
    answer = found(run("bisect", "@3", "HEAD", "--gate", "held-out", "--json"))
    assert (answer["round"], answer["value"], answer["value_before"]) == (BROKEN, 1.0, 0.0)
    assert answer["evaluations"] == math.ceil(math.log2(ROUNDS - 3))
    assert "a gate says itself" in run("bisect", "@3", "HEAD", "--gate", "held-out", "--above", 1).stderr


def test_a_command_is_a_metric(run: Run, sample: Sample, tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = f'echo "$COLLAB_WEIGHTS" >> {log}; test -s "$COLLAB_WEIGHTS" && exit 1'
    answer = found(run("bisect", "@0", "@8", "--run", command, "--json"))
    assert (answer["round"], answer["evaluations"]) == (1, 3)
    assert len(set(log.read_text().split())) == 3
    unjust = run("bisect", "@0", "@8", "--run", "exit 0")
    assert (unjust.exit_code, "nothing broke between them" in unjust.stderr) == (1, True)
    refused = run("bisect", "@0", "@8", "--run", "no-such-command")
    assert (refused.exit_code, "ended with 127" in refused.stderr) == (1, True)


@pytest.mark.parametrize(("failpoint", "kept"), [("bisect-evaluated", 0), ("bisect-saved", 1)])
def test_killed_at_any_point_it_goes_on(run: Run, sample: Sample, failpoint: str, kept: int) -> None:
    killed_at(sample, failpoint, "bisect", "@3", "HEAD", "--gate", "loss", "--above", 5.3)
    state = StateFile(sample.folder.path / "bisect.json").load()
    assert (0 if state is None else len(state.values)) == kept
    again = found(run("bisect", "--json") if kept else run("bisect", "@3", "HEAD", "--gate", "loss", "--above", 5.3, "--json"))
    assert (again["round"], again["versions"]) == (BROKEN, ROUNDS - 3)
    assert again["evaluations"] <= math.ceil(math.log2(ROUNDS - 3))
    assert not (sample.folder.path / "bisect.json").exists()


def test_what_cannot_be_asked(run: Run, sample: Sample) -> None:
    def line(*arguments: object) -> str:
        done = run("bisect", *arguments)
        assert done.exit_code != 0
        return done.stderr.splitlines()[0]

    assert "no bisection is under way" in line()
    assert "needs a GOOD and a BAD" in line("@3", "--gate", "loss")
    assert "needs a GOOD and a BAD" in line("@3", "HEAD")
    assert "does not descend from" in line("HEAD", "@3", "--gate", "loss")
    assert "are the same" in line("HEAD", "HEAD", "--gate", "loss")
    assert "no metric or gate 'speed'" in line("@3", "HEAD", "--gate", "speed")
    assert "two different things" in line("@3", "HEAD", "--gate", "loss", "--above", 1, "--below", 1)
    assert "says by its exit status what is bad" in line("@3", "HEAD", "--run", "true", "--above", 1)
    file = StateFile(sample.folder.path / "bisect.json")
    file.save(State(question=Question(good="00" * 32, bad="11" * 32, measure="metric", name="loss")))
    assert "another bisection is not finished" in line("@3", "HEAD", "--gate", "loss")
    assert run("bisect", "--reset").exit_code == 0
    assert file.load() is None
    (sample.folder.path / "bisect.json").write_text("{")
    assert "is damaged" in line("@3", "HEAD", "--gate", "loss")
    with file.lock():
        assert "another process bisects" in line("--reset")


def test_a_version_that_cannot_be_rebuilt_leaves_the_bisection_as_it_was(run: Run, sample: Sample, tmp_path: Path) -> None:
    away = sample.blob_path(sample.commit(BROKEN - 1).contributions()[0][1].payload.sha256)
    shutil.move(away, tmp_path / "payload")
    for round in (6, 8):
        sample.blob_path(sample.snapshot(round)).unlink()
    done = run("bisect", "@2", "@8", "--gate", "loss", "--above", 5.3)
    assert done.exit_code == 1
    assert "lacks what the weights of round" in done.stderr
    commit = sample.blob_path(sample.commit(5).digest)
    kept = commit.read_bytes()
    for damage in (kept[:100], b""):
        commit.write_bytes(damage)
        assert "is missing or damaged" in run("bisect").stderr
    commit.write_bytes(kept)
    shutil.move(tmp_path / "payload", away)
    assert found(run("bisect", "--json"))["round"] == BROKEN


@given(count=st.integers(1, 300), data=st.data())
def test_halving_takes_log2_evaluations(count: int, data: st.DataObject) -> None:
    first_bad = data.draw(st.integers(0, count - 1))
    path, limit = [bytes([n // 256, n % 256]) for n in range(count)], Limit(side="above", threshold=0.5)
    values: dict[str, float | None] = {}
    while (ends := narrowed(path, values, limit))[1] - ends[0] > 1:
        middle = sum(ends) // 2
        values[path[middle].hex()] = float(middle >= first_bad)
    assert ends == (first_bad - 1, first_bad)
    assert len(values) <= math.ceil(math.log2(count))


def test_what_is_bad() -> None:
    assert half_way(1.0, 3.0) == Limit(side="above", threshold=2.0)
    assert half_way(0.9, 0.5) == Limit(side="below", threshold=0.7)
    assert half_way(1.0, None).is_bad(None)
    assert not half_way(-1.0, None).is_bad(-1.0)
    for good, bad in ((None, 1.0), (1.0, 1.0)):
        with pytest.raises(UserError, match="nothing broke"):
            half_way(good, bad)
