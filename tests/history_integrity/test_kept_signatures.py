"""`kill -9` while a person signs a draft, or takes over verdicts: all of it is kept or nothing, and it can be done again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from command_kit import Run
from gates.test_gates_verdict import measurement, verdict
from history_integrity.samples import Sample, killed_at, make_sample
from typer.testing import Result

from collab.protocol.event import Maintainers
from collab.protocol.identity import Identity
from collab.protocol.verdict import sign_verdict

ONE, OTHER = (Identity(bytes(31) + bytes([number])) for number in (0x71, 0x72))


@pytest.fixture(scope="module")
def both_sign(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """Two rounds of an event in which two maintainers decide."""
    rule = Maintainers(keys=(ONE.peer_id, OTHER.peer_id), threshold=2)
    return make_sample(tmp_path_factory.mktemp("maintained"), 2, maintainers=rule)


@pytest.fixture
def people(both_sign: Sample, tmp_path: Path) -> tuple[Sample, Sample]:
    """The two maintainers' homes."""
    made = []
    for name, identity in (("one", ONE), ("other", OTHER)):
        shutil.copytree(both_sign.path, tmp_path / name / "home")
        (tmp_path / name / "home" / "identity.key").write_text(identity.seed.hex())
        made.append(Sample(tmp_path / name / "home", both_sign.data))
    return made[0], made[1]


RunIn = Callable[[Sample], Run]


def fine(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.stdout


def branch(sample: Sample) -> bytes | None:
    with sample.store(read_only=True) as store:
        return store.refs.get("heads/undone")


@pytest.mark.parametrize("failpoint", ["revert-commit", "revert-transaction", "draft-kept", "draft-written"])
def test_while_the_last_one_signs(people: tuple[Sample, Sample], run_in: RunIn, tmp_path: Path, failpoint: str) -> None:
    (one, other), draft = people, tmp_path / "the.draft"
    fine(run_in(one)("revert", "@1", "--into", "undone", "--draft", draft))
    waiting = draft.read_bytes()
    killed_at(other, failpoint, "sign", draft)
    assert (branch(other) is not None) == failpoint.startswith("draft")
    assert (draft.read_bytes() != waiting) == (failpoint == "draft-written")
    run = run_in(other)
    assert json.loads(fine(run("fsck", "--json")))["errors"] == 0
    fine(run("sign", draft))
    assert fine(run("gc")) is not None
    assert fine(run("fsck")) == "no errors\n"
    assert branch(one) is None
    fine(run_in(one)("sign", draft))
    assert branch(one) == branch(other)
    assert branch(one) is not None
    fine(run_in(one)("verify", "undone"))


@pytest.mark.parametrize(("failpoint", "kept"), [("verdict-rows", False), ("verdict-kept", True)])
def test_while_verdicts_are_taken_over(people: tuple[Sample, Sample], run_in: RunIn, failpoint: str, kept: bool) -> None:
    sample, _ = people
    said = [
        verdict(
            event=sample.event.digest, candidate=sample.commit(2).state, against=sample.commit(1).state,
            measurement=measurement(gate=gate),
        )
        for gate in ("poetry", "prose")
    ]  # fmt: skip
    file = sample.path.with_name("verdicts.json")
    file.write_text(json.dumps({"gates": [{"verdict": sign_verdict(ONE, each).encode().hex()} for each in said]}))
    killed_at(sample, failpoint, "verdict", "add", file)
    with sample.store(read_only=True) as store:
        assert len(store.verdicts.about(sample.commit(2).state)) == (2 if kept else 0)
    run = run_in(sample)
    assert fine(run("fsck")) == "no errors\n"
    assert fine(run("verdict", "add", file)) == ("0 new verdicts, 2 known\n" if kept else "2 new verdicts, 0 known\n")
    assert len(json.loads(fine(run("verdicts", "@2", "--json")))["verdicts"]) == 2
