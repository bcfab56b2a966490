"""What becomes of the codec bench's rows: kept in a file, shown, drawn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from bench_codec.__main__ import main
from bench_codec.kept import Kept, RowsError, read_rows
from bench_codec.picture import points_of
from bench_codec.runs import Run
from bench_codec.settings import DENSE_NAME, MUON, RECIPE_NAME
from bench_codec.table import tables


def _row(name: str, loss: float, *, seed: int = 0, bits: float = 0.25, quick: bool = False) -> dict[str, Any]:
    return {
        "event": "gpt", "name": name, "seed": seed, "quick": quick, "k": 144, "bits": 1, "outer_rate": 2.0,
        "bits_per_parameter": bits, "relative_error": 0.5, "end_loss": loss,
    }  # fmt: skip


@pytest.fixture
def rows_file(tmp_path: Path) -> Path:
    kept = Kept(tmp_path / "rows.json")
    for row in (_row(DENSE_NAME + MUON, 2.0, bits=16), _row(RECIPE_NAME, 1.9), _row(RECIPE_NAME, 1.8, seed=1)):
        kept.add(row)
    return tmp_path / "rows.json"


def test_rows_are_in_the_file_as_they_come(rows_file: Path) -> None:
    kept = Kept(rows_file, read_rows(rows_file))
    runs = [Run("gpt", RECIPE_NAME, seed, False, rows_file.parent) for seed in range(3)]
    assert kept.missing(runs) == runs[2:]
    kept.add(_row(RECIPE_NAME, 1.85, seed=2))
    assert read_rows(rows_file) == kept.rows
    assert kept.missing(runs) == []


@pytest.mark.parametrize("content", ["", "{}", "[1]", '[{"event": "gpt"}]'])
def test_a_file_without_rows_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "rows.json").write_text(content)
    with pytest.raises(RowsError, match=r"rows\.json"):
        read_rows(tmp_path / "rows.json")


def test_a_setting_is_compared_with_dense_averaging_of_the_same_seed_and_inner_optimiser(rows_file: Path) -> None:
    adamw = [_row(DENSE_NAME, 4.0, bits=16), _row("sparse 64, 1 bit", 5.0)]
    (table,) = tables([*read_rows(rows_file), *adamw])
    cells = [list(column.cells) for column in table.columns]
    assert cells[0] == [DENSE_NAME + MUON, RECIPE_NAME, DENSE_NAME, "sparse 64, 1 bit"]
    assert cells[-2] == ["1", "1.800–1.900", "1", "1"]
    assert cells[-1] == ["+0.0%", "-5.0%", "+0.0%", "+25.0%"]  # dense averaging had no seed 1


def test_points_are_medians_of_their_seeds_and_variations_of_the_recipe_are_left_out(rows_file: Path) -> None:
    rows = [*read_rows(rows_file), _row("decay 0.8", 1.7)]
    recipe, dense = points_of(rows)
    assert (recipe.name, recipe.losses) == (RECIPE_NAME, (1.8, 1.9))
    assert recipe.loss == pytest.approx(1.85)
    assert (dense.name, dense.rate) == (DENSE_NAME + MUON, 16)


def test_a_picture_is_drawn_without_training(rows_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    picture = rows_file.parent / "picture.png"
    monkeypatch.setattr("sys.argv", ["codec", "--from", str(rows_file), "--picture", str(picture)])
    assert main() == 0
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_resuming_trains_only_what_is_missing(rows_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[tuple[str, int]] = []

    def train(runs: list[Run], jobs: int) -> list[dict[str, Any]]:
        trained.extend((run.setting, run.seed) for run in runs)
        return [_row(run.setting, 1.9, seed=run.seed, bits=16) for run in runs]

    monkeypatch.setattr("bench_codec.__main__.rows", train)
    only = ["--event", "gpt", "--only", DENSE_NAME + MUON, "--only", RECIPE_NAME, "--seeds", "2"]
    monkeypatch.setattr("sys.argv", ["codec", *only, "--json", str(rows_file), "--resume"])
    assert main() == 0
    assert trained == [(DENSE_NAME + MUON, 1)]
    assert len(json.loads(rows_file.read_text())) == 4


def test_a_file_that_cannot_be_read_ends_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr("sys.argv", ["codec", "--from", str(tmp_path / "none.json")])
    assert main() == 1
    assert capsys.readouterr().err.startswith("error: ")
