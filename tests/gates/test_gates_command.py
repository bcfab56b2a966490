"""`gate run`, in this process, on a real history of two rounds."""

from __future__ import annotations

import io
import json
import sys
from functools import partial
from pathlib import Path

import pytest
from command_kit import Run, collab_node, live_in
from gates.test_gates_verdict import measurement
from history_integrity.samples import Sample, make_sample
from rich.console import Console

from collab.node.errors import UserError
from collab.node.gates.file import read_gate_file
from collab.node.gates.printing import gates_table
from collab.protocol.gates import Case, CommandGate, ExactGate, HeadGate, LossGate
from collab.protocol.messages import Signed
from collab.protocol.verdict import open_verdict

GATES = (
    LossGate(name="held-out", kind="loss", path="text.txt", tolerance=0.5),
    ExactGate(name="words", kind="exact", cases=(Case(input="merge ", output="r"),), tolerance=1.0),
    HeadGate(name="release-only", kind="accuracy", path="none.jsonl", rounds=False),
)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return make_sample(tmp_path_factory.mktemp("history"), 2, gate=GATES)


@pytest.fixture
def run(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> Run:
    live_in(monkeypatch, sample.home.path, data=sample.data)
    return partial(collab_node, "gate", "run")


def own(folder: Path, text: str) -> Path:
    path = folder / "own.toml"
    path.write_text(text)
    return path


def test_a_version_is_compared_with_its_parent_and_the_verdict_is_signed(run: Run, sample: Sample) -> None:
    result = run("--name", "held-out", "--name", "words", "--json", "--sign")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (report["round"], report["against_round"], report["passed"]) == (2, 1, True)
    assert [row["gate"] for row in report["gates"]] == ["held-out", "words"]
    signed = Signed.decode(bytes.fromhex(report["gates"][0]["verdict"]))
    verdict = open_verdict(signed)
    assert signed.signer == sample.identity.peer_id
    assert (verdict.candidate, verdict.against) == (sample.commit(2).state, sample.commit(1).state)
    assert verdict.measurement.change == report["gates"][0]["change"]


def test_a_gate_that_fails_is_an_exit_code_and_a_row(run: Run, tmp_path: Path) -> None:
    strict = own(tmp_path, '[[gate]]\nname = "strict"\nkind = "loss"\npath = "text.txt"\ntolerance = 0.0\n')
    result = run("HEAD~2", "--against", "HEAD", "--file", strict)
    assert result.exit_code == 1
    assert "round 0" in result.stdout
    assert "strict" in result.stdout
    assert "FAILED" in result.stdout


def test_ones_own_command_measures_the_weights(run: Run, tmp_path: Path) -> None:
    program = tmp_path / "size.py"
    program.write_text("import sys, pathlib\nprint('measuring')\nprint(len(pathlib.Path(sys.argv[1]).read_bytes()))")
    command = json.dumps([sys.executable, str(program), "{weights}"])
    gate = f'[[gate]]\nname = "size"\nkind = "command"\ncommand = {command}\ndirection = "lower"\n'
    result = run("--file", own(tmp_path, gate), "--json")
    assert result.exit_code == 0, result.output
    (row,) = json.loads(result.stdout)["gates"]
    assert row["change"] == 0
    assert row["base"] > 1000
    assert row["data"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--name", "nobody"], "there is no gate 'nobody'"),
        (["HEAD~2"], "the first version has none before it"),
        (["v9"], "v9"),
        (["--sign"], "--sign goes with --json"),
        (["--name", "release-only"], "gate release-only: no file"),
    ],
)
def test_what_a_person_can_mend_is_one_line(run: Run, arguments: list[str], message: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert len(result.stderr.splitlines()) <= 2


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (["false"], "'false' ended with 1"),
        (["true"], "printed is not a number"),
        (["no-such-program-here"], "cannot run 'no-such-program-here'"),
        (["sleep", "60"], "no answer in 0.1 s"),
    ],
)
async def test_a_command_that_does_not_measure(tmp_path: Path, program: list[str], message: str) -> None:
    from collab.node.gates.command import measure_command

    seconds = 0.1 if "60" in program else 60
    gate = CommandGate(name="g", kind="command", command=tuple(program), direction="lower", seconds=seconds)
    with pytest.raises(UserError, match=message):
        await measure_command(gate, tmp_path, tmp_path)


async def test_a_command_that_prints_no_finite_number_fails_the_gate(tmp_path: Path) -> None:
    from collab.node.gates.command import measure_command

    for name, number in (("a", "1.5"), ("b", "nan"), ("c", "1.0")):
        (tmp_path / name).write_text(number)
    gate = CommandGate(name="g", kind="command", command=("cat", "{weights}"), direction="higher", tolerance=0.1)
    assert (await measure_command(gate, tmp_path / "a", tmp_path / "b")).reason == "not_finite"
    assert (await measure_command(gate, tmp_path / "a", tmp_path / "c")).reason == "worse"
    assert (await measure_command(gate, tmp_path / "c", tmp_path / "a")).passed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[[gate]]\nname = "a"\nkind = "command"\ncomand = ["x"]\n',
         "own.toml:4: gate[0].comand: unknown key; did you mean 'command'?"),
        ("[[gate]]\nname =\n", "own.toml:2: not TOML"),
        ('name = "x"\n', "own.toml:1: name: unknown key"),
        ('[[gate]]\nname = "a"\nkind = "los"\n', "did you mean 'loss'?"),
    ],
)  # fmt: skip
def test_mistakes_in_ones_own_file_have_lines(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        read_gate_file(own(tmp_path, text))
    assert message in str(caught.value.message)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read_gate_file(tmp_path / "none.toml")


def test_a_table_in_80_columns_breaks_names_and_no_number() -> None:
    found = measurement(
        gate="poetry-by-the-river", base=2.233, candidate=2.2276, change=-0.005787, low=-0.019987, high=0.00682, batches=40,
        reason="unclear",
    )  # fmt: skip
    console = Console(width=80, file=io.StringIO(), record=True)
    console.print(gates_table("round 2 against round 1", [found]))
    text = console.export_text()
    assert "2.233  2.228  -0.00579  -0.02 … +0.0068" in text
    assert "…" not in text.replace(" … ", " ")
