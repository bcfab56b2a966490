"""The event file's checker: every mistake has its line, its key, and a sentence."""

from pathlib import Path

import pytest
from command_kit import SHORT_EVENT
from hypothesis import given
from hypothesis import strategies as st

from collab.node.event.file import EventFileError, event_template, parse_event, read_event_file
from collab.node.event.problems import Problem
from collab.protocol.event import EventManifest, Start
from collab.protocol.identity import Identity


def problems_of(text: str) -> list[Problem]:
    with pytest.raises(EventFileError) as caught:
        parse_event(text, "event.toml")
    return caught.value.problems


def with_keys(section: str, *keys: str) -> str:
    """The event with more keys in a section; the first is on the line after the section's."""
    return SHORT_EVENT.replace(f"[{section}]\n", "\n".join([f"[{section}]", *keys, ""]))


def line_in(text: str, start: str) -> int:
    return next(at for at, line in enumerate(text.splitlines(), 1) if line.startswith(start))


def test_a_short_event_takes_the_defaults() -> None:
    draft = parse_event(SHORT_EVENT, "event.toml")
    assert (draft.name, draft.outer.rate, draft.rounds.deadline) == ("sample", 2.0, 600.0)


def test_units_and_numbers_mean_the_same() -> None:
    written = parse_event(with_keys("rounds", 'deadline = "10m"', 'collect = "1.5m"', "view = 7"), "event.toml")
    assert (written.rounds.deadline, written.rounds.collect, written.rounds.view) == (600, 90, 7)
    assert parse_event(with_keys("data", 'max_bytes = "30MB"'), "event.toml").data.max_bytes == 30_000_000


def test_a_manifest_is_the_draft_and_three_facts() -> None:
    coordinator = Identity(bytes(32)).peer_id
    draft = parse_event(SHORT_EVENT, "event.toml")
    manifest = draft.manifest(coordinator, 1_700_000_000, Start(state=bytes(32), seed=1))
    assert isinstance(manifest, EventManifest)
    assert (manifest.coordinator, manifest.created, manifest.model) == (coordinator, 1_700_000_000, draft.model)
    assert EventManifest.decode(manifest.encode()) == manifest


def test_a_draft_that_bans_its_coordinator_makes_no_manifest() -> None:
    coordinator = Identity(bytes(32)).peer_id
    draft = parse_event(with_keys("admission", f'banned = ["{coordinator}"]'), "event.toml")
    with pytest.raises(ValueError, match="names the coordinator"):
        draft.manifest(coordinator, 0, Start(state=bytes(32)))


@pytest.mark.parametrize(
    ("section", "line", "message"),
    [
        ("model", "layers = 0", "model.layers: must be greater than or equal to 1 (not 0)"),
        ("model", "width = 100", "model.width: must be a multiple of 2 * heads"),
        ("model", "vocabulary = 100", "model.vocabulary: must be at least 256 with tokenizer 'bytes'"),
        ("model", "embedding = 3", "model.embedding: unknown key"),
        ("data", "block = '128'", "data.block: must be a valid integer (not '128')"),
        ("data", "block = 1.0", "data.block: must be a valid integer (not 1.0)"),
        ("data", "held_out = true", "data.held_out: must be a valid number (not True)"),
        ("data", "max_bytes = ''", "data.max_bytes: must be a number of bytes, or text such as \"30MB\" or \"2GiB\" (not '')"),
        ("inner", "rate = -1", "inner.rate: must be greater than 0 (not -1)"),
        ("inner", "rate = inf", "inner.rate: must be a finite number (not inf)"),
        ("inner", "rate = nan", "inner.rate: must be a finite number (not nan)"),
        ("inner", "warmup_sample = 3", "inner.warmup_sample: unknown key; did you mean 'warmup_samples'?"),
        ("inner", "warmup_samples = 10_000_000", "inner.warmup_samples: must be below total_samples"),
        ("inner", "betas = 1", "inner.betas: must be a list"),
        ("inner", "betas = [0.9]", "inner.betas[1]: is missing"),
        ("compression", "k = 100", "compression.k: must be a multiple of 16 (not 100)"),
        ("compression", "kind = 'spars'", "compression.kind: must be 'sparse' or 'fp16' (not 'spars'); did you mean 'sparse'?"),
        ("outer", "momentum = 0.9", "outer.momentum: goes with kind 'nesterov'"),
        ("merge", "method = 'median'", "merge.method: must be 'average', 'sparse-average' or 'fisher' (not 'median')"),
        ("merge", "[merge.more]", "merge.more: unknown section"),
        ("rounds", "view = ''", "rounds.view: must be a number of seconds, or text such as \"45s\", \"10m\" or \"2h\" (not '')"),
        ("rounds", "deadline = '40d'", "rounds.deadline: must be less than or equal to 2592000 (not 3456000.0)"),
        ("admission", "mode = 'invited'", "admission.mode: 'invited' needs a key, and a key needs mode 'invited'"),
        ("admission", "banned = ['x']", "admission.banned[0]: 'x' is not the peer id of an Ed25519 key"),
        ("admission", "[admision]", "admision: unknown section; did you mean 'admission'?"),
    ],
)  # fmt: skip
def test_a_mistake_has_its_line_and_its_sentence(section: str, line: str, message: str) -> None:
    text = with_keys(section, "", "# a comment", line)
    (problem,) = problems_of(text)
    assert (problem.line, str(problem)) == (line_in(text, line), message)


def test_a_mistake_inside_a_list_has_the_items_line() -> None:
    text = with_keys("inner", "betas = [", "  0.9,", "  1.5,", "]")
    (problem,) = problems_of(text)
    assert (problem.line, problem.where) == (line_in(text, "  1.5"), "inner.betas[1]")


@pytest.mark.parametrize("family", ["'gtp'", "7"])
def test_an_unknown_family(family: str) -> None:
    (problem,) = problems_of(SHORT_EVENT.replace('"gpt"', family))
    assert (problem.line, problem.where) == (3, "model.family")
    assert "must be one of 'gpt', 'albert', 'huggingface'" in problem.message


def test_no_family() -> None:
    (problem,) = problems_of(SHORT_EVENT.replace('family = "gpt"', "layers = 3"))
    assert (problem.line, str(problem)) == (2, "model.family: is missing")


def test_values_of_a_configuration_are_named_once() -> None:
    model = 'family = "huggingface"\ntask = "causal-lm"\narchitecture = "gpt2"\nconfig.n_layer = 2\nconfig.layers = [1]'
    (problem,) = problems_of(SHORT_EVENT.replace('family = "gpt"', model))
    assert (problem.line, str(problem)) == (7, "model.config.layers: must be text, a number, true or false")


def test_a_source_without_a_path() -> None:
    (problem,) = problems_of(SHORT_EVENT.replace("stdlib", "text"))
    assert (problem.line, str(problem)) == (5, "data.source: 'text' needs a path")


@pytest.mark.parametrize("section", ["inner", "compression", "outer", "merge", "rounds", "admission"])
def test_a_missing_section_and_one_that_is_none(section: str) -> None:
    (missing,) = problems_of(SHORT_EVENT.replace(f"[{section}]\n", ""))
    assert (missing.line, str(missing)) == (10, f"{section}: the section is missing")
    (value,) = problems_of(f"{section} = 5\n" + SHORT_EVENT.replace(f"[{section}]\n", ""))
    assert (value.line, str(value)) == (1, f"{section}: must be a section")


def test_an_empty_file_lacks_everything() -> None:
    wheres = {problem.where for problem in problems_of("")}
    assert wheres == {"name", "model", "data", "inner", "compression", "outer", "merge", "rounds", "admission"}


def test_the_error_lists_all_mistakes_in_order_of_lines() -> None:
    text = SHORT_EVENT.replace("[rounds]", "[rounds]\nview = 'x'").replace("[inner]", "[inner]\nrate = 0")
    text = text.replace("sample", "No Good")
    with pytest.raises(EventFileError) as caught:
        parse_event(text, "my.toml")
    assert [line.split(" ")[:2] for line in str(caught.value).splitlines()] == [
        ["my.toml:1:", "name:"],
        ["my.toml:7:", "inner.rate:"],
        ["my.toml:12:", "rounds.view:"],
    ]


@pytest.mark.parametrize(
    ("text", "line"), [("a = 1\na = 2\n", 2), ("\n\na = \n", 3), ("[x", 1), ('\na = """\n\n', 2), ("a = " + "[" * 5000, 1)]
)
def test_what_is_not_toml_has_a_line(text: str, line: int) -> None:
    (problem,) = problems_of(text)
    assert problem.line == line
    assert problem.message.startswith("not TOML: ")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(EventFileError, match=r"none.toml: cannot be read: No such file or directory$"):
        read_event_file(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(SHORT_EVENT.encode() + b"# \xe9\n")
    with pytest.raises(EventFileError, match=r"latin.toml:12: not UTF-8 text$"):
        read_event_file(tmp_path / "latin.toml")


@given(st.data())
def test_a_broken_template_is_an_event_or_an_event_file_error(data: st.DataObject) -> None:
    text = event_template()
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 40)))
    broken = text[:start] + data.draw(st.text(alphabet="[]{}=\"'#.,\n a1-é", max_size=8)) + text[end:]
    last_line = broken.count("\n") + 1
    assert all(1 <= line <= last_line for line in _lines_of_problems(broken))


def _lines_of_problems(text: str) -> list[int]:
    try:
        parse_event(text, "event.toml")
    except EventFileError as error:
        return [problem.line for problem in error.problems]
    return []
