"""The shipped events and the reference: valid, complete, and in step with the manifest's fields."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic_core import PydanticUndefined

import collab
from collab.node.event.file import UNITS, embedded_event, event_template, parse_event, read_event_file
from collab.node.event.problems import GATE_RECORDS, OPTIONAL_SECTIONS, SECTIONS, known_keys, tags_of
from collab.protocol.event import AlbertModel, EventDraft, GptModel, HuggingFaceModel
from collab.protocol.record import Record

ROOT = Path(collab.__file__).parent
CONFIGS = sorted((ROOT / "configs").glob("*.toml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_shipped_event_passes_the_check_and_says_what_it_is_for(path: Path) -> None:
    draft = read_event_file(path)
    if path.stem != "template":
        assert draft.name == path.stem
        assert draft.description
    assert max(len(line) for line in path.read_text().splitlines()) <= 130


def test_the_sections_are_those_of_the_manifest() -> None:
    assert set(known_keys("")) == {"name", "description", *SECTIONS, *OPTIONAL_SECTIONS, "gate"}
    for name, records in OPTIONAL_SECTIONS.items():
        assert EventDraft.model_fields[name].annotation == records[0] | None
    for name, records in SECTIONS.items():
        if name != "model":
            assert records == (EventDraft.model_fields[name].annotation,)
    assert [tags_of(record) for record in SECTIONS["model"]] == [("gpt",), ("albert",), ("huggingface",)]
    for section, key in UNITS:
        assert key in known_keys(section)


def test_the_embedded_event_is_the_demo() -> None:
    event = embedded_event()
    assert event == read_event_file(ROOT / "configs" / "demo.toml")
    assert isinstance(event.model, GptModel)
    assert (event.model.layers, event.model.width, event.model.heads, event.data.block) == (4, 128, 4, 128)
    nodes = 4
    assert event.inner.total_samples == event.rounds.last_round * nodes * event.inner.steps * event.inner.batch
    assert event.inner.warmup_samples == nodes * event.inner.steps * event.inner.batch
    assert event.rounds.committee == nodes


def test_one_shipped_event_has_full_merges_and_one_is_fisher_weighted() -> None:
    wikitext = read_event_file(ROOT / "configs" / "gpt-wikitext.toml")
    assert wikitext.merge.full_every == 20
    sahajbert = read_event_file(ROOT / "configs" / "sahajbert.toml")
    assert isinstance(sahajbert.model, AlbertModel)
    assert sahajbert.merge.method == "fisher"


def test_the_template_shows_every_default() -> None:
    draft = parse_event(event_template(), "template.toml")
    sections: list[Record] = [getattr(draft, name) for name in SECTIONS]
    for section in sections:
        for key, field in type(section).model_fields.items():
            if field.default is not PydanticUndefined:
                assert getattr(section, key) == field.default, key


def test_the_template_has_every_key_with_a_comment() -> None:
    active, commented = _template_keys(r"(\w+) = .*?# .+"), _template_keys(r"# (\w+) = .*")
    for section in SECTIONS:
        assert set(tomllib.loads(event_template())[section]) == active[section], section
        assert active[section] | commented.get(section, set()) == set(known_keys(section)), section


def test_the_templates_commented_keys_are_defaults_too() -> None:
    lines = [line.removeprefix("# ") for line in event_template().splitlines() if re.match(r"# \w+ = ", line)]
    shown: dict[str, Any] = {}
    for line in lines:
        shown |= tomllib.loads(line)
    assert shown["feed_forward"] == AlbertModel.model_fields["feed_forward"].default
    assert shown["embedding"] == AlbertModel.model_fields["embedding"].default
    assert shown["mask_share"] == AlbertModel.model_fields["mask_share"].default
    assert shown["mask_share"] == HuggingFaceModel.model_fields["mask_share"].default


def test_the_templates_commented_gates_show_every_key_and_its_default() -> None:
    example = event_template().partition("# [[gate]]")[1:]
    gates = tomllib.loads("\n".join(line.removeprefix("#").strip() for line in "".join(example).splitlines()))["gate"]
    assert {key for gate in gates for key in gate} == set(known_keys("gate"))
    text = event_template() + "\n".join(line.removeprefix("#").strip() for line in "".join(example).splitlines())
    for gate, shown in zip(parse_event(text, "template.toml").gate, gates, strict=True):
        for key in set(shown) - {"name", "kind", "cases", "path"}:
            assert getattr(gate, key) == type(gate).model_fields[key].default, key


@pytest.mark.skipif(not (ROOT / "docs").is_dir(), reason="the reference is not part of an installed package")
def test_the_gates_page_has_every_key_and_kind() -> None:
    page = (ROOT / "docs" / "GATES.md").read_text()
    kinds = {kind for record in GATE_RECORDS for kind in tags_of(record)}
    assert {word for word in known_keys("gate") + sorted(kinds) if f"| `{word}`" not in page} == set()


def _template_keys(pattern: str) -> dict[str, set[str]]:
    keys: dict[str, set[str]] = {}
    section = ""
    for line in event_template().partition("# [[gate]]")[0].splitlines():
        if line.startswith("["):
            section = line[1 : line.index("]")]
        elif match := re.fullmatch(pattern, line):
            keys.setdefault(section, set()).add(match[1])
    return keys


def _reference() -> dict[str, list[list[str]]]:
    """Rows of the tables of docs/EVENTS.md by section, the first cell of each a key."""
    rows: dict[str, list[list[str]]] = {}
    section = ""
    for line in (ROOT / "docs" / "EVENTS.md").read_text().splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ").strip("[]").replace("Top level", "")
        elif line.startswith("| `"):
            rows.setdefault(section, []).append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


@pytest.mark.skipif(not (ROOT / "docs").is_dir(), reason="the reference is not part of an installed package")
def test_the_reference_has_every_key_and_no_other() -> None:
    rows = _reference()
    for section in (*SECTIONS, *OPTIONAL_SECTIONS):
        assert {key.strip("`") for key, *_ in rows[section]} == set(known_keys(section)), section


@pytest.mark.skipif(not (ROOT / "docs").is_dir(), reason="the reference is not part of an installed package")
def test_the_references_defaults_are_the_manifests() -> None:
    for section, rows in _reference().items():
        if section in ("", "model"):
            continue
        (record,) = (SECTIONS | OPTIONAL_SECTIONS)[section]
        for key, shown in ((row[0].strip("`"), row[1].strip("`")) for row in rows):
            default = record.model_fields[key].default
            if default is PydanticUndefined or default is None:
                assert shown == ("none" if default is None else "required")
                continue
            written = tomllib.loads(f"value = {shown}")["value"]
            if (section, key) in UNITS and isinstance(written, str):
                written = UNITS[section, key](written)
            assert (tuple(written) if isinstance(written, list) else written) == default, key
