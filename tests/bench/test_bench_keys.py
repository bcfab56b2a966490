"""The keys that whoever reads the JSON files of the benches and the demo was promised; nothing is trained for them."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from bench.test_bench_figures import result
from history_integrity.samples import make_sample

from collab.node.settings import Settings
from collab.protocol.commit import Commit

Figures = dict[str, Any]


def test_swarm() -> None:
    found: Figures = import_module("bench_swarm.figures").all_figures([result()], import_module("bench_swarm.plan").quick(), 2)
    for variant in ("dense", "sparse", "single"):
        promised = {"loss", "samples", "bytes_per_node_round", "seconds"}
        assert promised | {f"{name}_spread" for name in promised} <= found[variant].keys()
    promised = {"fp16_bytes_ratio", "overhead_share", "join_seconds", "idle_cpu_share"}
    assert promised | {f"{name}_spread" for name in promised} | {"state_hashes_equal"} <= found.keys()


def test_demo(tmp_path: Path) -> None:
    demo = import_module("demo").Demo(SimpleNamespace(quick=True, json=None, out=tmp_path), None)
    found: Figures = demo._figures([None] * 4, {"a": "aa", "b": "aa"}, 12.34)
    assert {"loss_before", "loss_after", "rounds", "nodes", "state_hashes", "seconds"} <= found.keys()
    assert (found["rounds"], found["nodes"], found["state_hashes"]) == (3, 2, ["aa", "aa"])


def test_gates() -> None:
    figures = import_module("bench_gates.figures")
    cases = [figures.Case("harmless", True, True, (2, 2)), figures.Case("sign-flipped", False, True, (2, 4))]
    found: Figures = figures.figures(cases)
    promised = {"cases", "true_acceptance", "false_acceptance", "batches_median"}
    assert promised <= found.keys()
    for kind in import_module("bench_gates.plants").KINDS:
        assert promised <= found["by_kind"][kind].keys()


def test_merge() -> None:
    scores = {"classes": [{"average": 80.0, "fisher": 81.0}, {"average": 82.0, "fisher": 82.5}]}
    found: list[Figures] = import_module("bench_merge.figures").rows(scores, "classes")
    for row in found:
        assert {"method", "mean", "deviation", "p_value_against_average"} <= row.keys()


class AtTheWholeFiles:
    """A replay that has every version's file already."""

    def __init__(self, files: list[Path]) -> None:
        self.base: bytes | None = None
        self.applied = 0
        self._files = files
        self._round = 0

    async def go_to(self, commit: Commit) -> None:
        """Be there."""
        self._round = commit.round

    async def write(self, out: Path, *, weights_only: bool) -> None:
        """Copy the file."""
        shutil.copyfile(self._files[self._round], out)


async def test_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measuring = import_module("bench_history.measuring")
    sample = make_sample(tmp_path / "history", 2)
    files = [tmp_path / f"whole-{round}" for round in range(3)]

    @asynccontextmanager
    async def replaying(*_: object) -> AsyncIterator[AtTheWholeFiles]:
        yield AtTheWholeFiles(files)

    async def bisect(*_: object) -> SimpleNamespace:
        return SimpleNamespace(versions=3, evaluated=2, round=1)

    monkeypatch.setattr(measuring, "replaying", replaying)
    monkeypatch.setattr(measuring, "bisect", bisect)
    settings, quiet = Settings(home=sample.home.path), lambda text: None
    with sample.store(read_only=True) as store:
        for round, file in enumerate(files):
            file.write_bytes(sample.blob_path(sample.snapshot(0)).read_bytes() + bytes(round))
        found: Figures = measuring.sizes(sample.folder.store_path, store, files).fields()
        found |= await measuring.check_out_all(sample.event, store, settings, files, tmp_path / "out", quiet)
        found |= await measuring.find_broken(sample.event, store, settings, tmp_path, 1, quiet)
    promised = {
        "versions", "store_bytes", "patch_bytes", "whole_file_bytes", "checkout_seconds", "bit_exact", "bisect_evaluations",
    }  # fmt: skip
    assert promised <= found.keys()
    assert found["bit_exact"]


def test_people() -> None:
    told = {key for _, meanings in import_module("bench_people.__main__").FIGURES.values() for key in meanings}
    promised = {
        "dashboard_load_seconds_200_nodes", "dashboard_cpu_share", "panels", "panels_with_data", "rules", "rules_with_data",
    }  # fmt: skip
    assert promised <= told
