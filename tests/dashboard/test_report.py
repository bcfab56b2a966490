"""What an event came to: figures, plots, both texts, and what can go wrong."""

from __future__ import annotations

import csv
import json
import re
import sys
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from dashboard.kit import StoredHome, chain_with_gates, measured, release_as_first, run_gate_here
from hypothesis import given
from hypothesis import strategies as st
from numpy import zeros
from safetensors.numpy import save
from store_samples import COORDINATOR, Chain
from typer.testing import CliRunner

from collab.node.cli.app import app
from collab.node.errors import UserError
from collab.node.report import write
from collab.node.report.document import Block, Heading, Paragraph, Table
from collab.node.report.figures import EventRecord, gini
from collab.node.report.render import to_html, to_markdown
from collab.node.report.write import write_report
from collab.node.rounds import held_out
from collab.node.store import Store
from collab.protocol.amendments import Announce, Recipe

ATTACK = "<script>alert(1)</script> & | `code` ![x](http://evil.example)"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report on five rounds, two of them measured on held-out data."""
    folder = tmp_path_factory.mktemp("report")
    stored = StoredHome(folder / "home", Chain())
    stored.grow(5)
    with Store.open(stored.folder.store_path) as store:
        held_out.keep(store, 0, 5.5)
        held_out.keep(store, 5, 3.25)
    write_report(stored.folder, folder / "out")
    return folder / "out"


def test_the_figures_are_the_historys(written: Path) -> None:
    figures = json.loads((written / "figures.json").read_text())
    expected = {
        "rounds": 5, "contributors": 1, "contributions_merged": 5, "samples": 800, "tokens": 800 * 128, "payload_bytes": 35,
        "seconds_between_first_and_last_commit": 240, "seconds_a_round_median": 60, "training_loss_last": 3.25,
        "held_out_loss_first": 5.5, "held_out_loss_last": 3.25, "gini_of_samples": 0.0, "share_of_the_most_active": 1.0,
    }  # fmt: skip
    assert {name: figures[name] for name in expected} == expected
    assert figures["samples_a_second"] == pytest.approx(640 / 240)


def test_credits_are_written_for_programs(written: Path) -> None:
    (row,) = csv.DictReader((written / "credits.csv").read_text().splitlines())
    assert (row["peer"], row["samples"], row["contributions"]) == (COORDINATOR.peer_id, "800", "5")


def test_the_page_needs_no_other_file_and_no_host(written: Path) -> None:
    page = (written / "report.html").read_text()
    assert page.count("<svg") == 6
    assert not re.search(r'(?:src|href)="(?!#)', page)
    assert "@import" not in page
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    named = set(re.findall(r'(?:url\(#|href="#)([^")]+)', page))
    assert named <= set(ids)
    assert COORDINATOR.peer_id in page


def test_the_markdown_says_the_same_and_names_files_that_are_there(written: Path) -> None:
    text = (written / "report.md").read_text()
    pictures = re.findall(r"!\[[^]]*\]\(([^)]+)\)", text)
    assert len(pictures) == 6
    for name in pictures:
        ElementTree.parse(written / name)
        assert (written / name).with_suffix(".pdf").read_bytes().startswith(b"%PDF")
    assert "1 contributors trained sample" not in text
    assert "1 contributor trained sample" in text
    assert "held-out loss went from 5.5000 to 3.2500" in text


def test_a_report_is_the_same_each_time(written: Path, tmp_path: Path) -> None:
    stored = StoredHome(tmp_path / "home", Chain())
    stored.grow(5)
    with Store.open(stored.folder.store_path) as store:
        held_out.keep(store, 0, 5.5)
        held_out.keep(store, 5, 3.25)
    write_report(stored.folder, tmp_path / "out")
    files = [path.relative_to(written) for path in written.rglob("*") if path.is_file()]
    assert len(files) == 16
    for name in files:
        assert (tmp_path / "out" / name).read_bytes() == (written / name).read_bytes(), name


def test_an_event_without_a_merge_has_nothing_to_report(stored: StoredHome) -> None:
    with pytest.raises(UserError, match="nothing to report yet"):
        write_report(stored.folder, stored.home.path / "out")


def test_another_report_is_left_alone_and_ours_is_replaced(stored: StoredHome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write, "draw_plots", lambda record: [])
    stored.grow()
    folder = stored.home.path / "out"
    write_report(stored.folder, folder)
    write_report(stored.folder, folder)
    (folder / "report.html").write_text("somebody's")
    with pytest.raises(UserError, match="is another report"):
        write_report(stored.folder, folder)


def test_without_matplotlib_it_says_what_to_install(stored: StoredHome, monkeypatch: pytest.MonkeyPatch) -> None:
    stored.grow()
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = CliRunner().invoke(app, ["report", str(stored.home.path / "out"), "--home", str(stored.home.path)])
    assert result.exit_code == 1
    assert "collab-node[plots]" in result.output
    assert not (stored.home.path / "out").exists()


def test_parameters_are_counted_in_a_snapshot_and_compared_with_dense(stored: StoredHome) -> None:
    stored.grow(2)
    with Store.open(stored.folder.store_path) as store:
        tensors = {"a": zeros((3, 5)), "b": zeros(7), "outer.momentum/a": zeros((3, 5))}
        blob = store.blobs.put_bytes(save(tensors))
        store.record_snapshot(stored.chain.head.digest, blob)
        figures = EventRecord.read(stored.chain.event, stored.folder, store).figures()
    assert (figures["parameters"], figures["dense_bytes"]) == (22, 22 * 4 * 2)
    assert figures["times_smaller_than_dense"] == pytest.approx(176 / 14)


@given(st.lists(st.integers(0, 10**9), max_size=20))
def test_gini_is_between_zero_and_one_and_ignores_scale(values: list[int]) -> None:
    found = gini(values)
    if sum(values) == 0:
        assert found is None
    else:
        assert found is not None
        assert -1e-9 <= found < 1
        assert gini([3 * value for value in values]) == pytest.approx(found)
        assert gini([values[0]] * len(values) or [1]) in (None, pytest.approx(0, abs=1e-9))


class Text(HTMLParser):
    """Tags and text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_text_from_the_network_is_only_text() -> None:
    blocks: list[Block] = [Heading(ATTACK), Paragraph(ATTACK), Table((ATTACK,), ((ATTACK,),))]
    page = Text(to_html(ATTACK, blocks))
    assert "script" not in page.tags
    assert "img" not in page.tags
    assert page.text.count("<script>alert(1)</script>") == 6
    for line in to_markdown(ATTACK, blocks).splitlines():
        assert not re.search(r"(?<!\\)[<!]\[|(?<!\\)<", line)


# Versions and gates


@pytest.fixture(scope="module")
def tested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report on four rounds, the gates of which ran on three, and one release."""
    folder = tmp_path_factory.mktemp("tested")
    stored = StoredHome(folder / "home", chain_with_gates())
    stored.grow(4)
    with Store.open(stored.folder.store_path) as store:
        commits = [store.commit(store.at_round(round) or b"") for round in (1, 2, 3)]
    for commit, result in zip(commits, (measured(), measured(passed=False), measured(clear=False)), strict=True):
        run_gate_here(stored, commit, result)
    release_as_first(stored, stored.chain.head)
    write_report(stored.folder, folder / "out")
    return folder / "out"


def test_releases_and_gates_are_told(tested: Path) -> None:
    text = (tested / "report.md").read_text()
    assert "## Versions and gates" in text
    row = next(line for line in text.splitlines() if line.startswith("| 1.0.0 |"))
    assert "| the first release | 1 of 1, run by 1 peer |" in row
    held_out, poetry = (line for line in text.splitlines() if line.startswith(("| held-out |", "| poetry |")))
    assert "| every commit | 2 of 3 | 0 | held-out passed: loss 0.1 better where 0.01 worse is allowed, not clear |" in held_out
    assert "| proposals, releases | not run here | 0 |" in poetry
    figures = json.loads((tested / "figures.json").read_text())
    assert (figures["releases"], figures["gates_run_here"]) == (1, 3)


def test_versions_and_gates_are_drawn(tested: Path) -> None:
    for name, words in (("versions-time", ("1.0.0",)), ("gates-time", ("held-out", "passed, not clear", "failed"))):
        text = (tested / "figures" / f"{name}.svg").read_text()
        assert all(word in text for word in words), name
        assert (tested / "figures" / f"{name}.pdf").read_bytes().startswith(b"%PDF")


def test_what_was_amended_is_told(tmp_path: Path) -> None:
    stored = StoredHome(tmp_path / "home", Chain())
    stored.grow(2)
    outer = stored.chain.event.outer.model_copy(update={"rate": 1.25})
    stored.decide(Announce(text="tea at nine"), Recipe(from_round=5, outer=outer))
    write_report(stored.folder, tmp_path / "out")
    text = (tmp_path / "out" / "report.md").read_text()
    _, decided = text.split("## What the coordinators decided")
    assert "| 1 | 1970-01-01 00:00 UTC | announced: tea at nine | …" in decided
    assert "| a new recipe from round 5 on; outer: kind = sgd, rate = 1.25, momentum = 0.0 | …" in decided


def test_an_event_without_gates_and_releases_says_so(written: Path) -> None:
    text = (written / "report.md").read_text()
    assert "What the coordinators decided" not in text
    assert "replays it, and `collab-node log --json` prints what" in text
    assert "Nothing was released." in text
    assert "The event has no gates." in text
    assert not (written / "figures" / "gates-time.svg").exists()


def test_releases_that_cannot_be_trusted_are_not_told(tmp_path: Path) -> None:
    stored = StoredHome(tmp_path / "home", chain_with_gates())
    stored.grow(2)
    release_as_first(stored, stored.chain.head, datetime.now(UTC).replace(microsecond=0) - timedelta(days=90))
    write_report(stored.folder, tmp_path / "out")
    assert "The releases cannot be told: these releases are stale" in (tmp_path / "out" / "report.md").read_text()
