"""Medians, spreads, pages and tables of the bench."""

from __future__ import annotations

import json
from importlib import import_module
from io import StringIO
from statistics import median
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.exposition import generate_latest
from rich.console import Console

from collab.node.metrics.metrics import Metrics
from collab.node.metrics.phase_clock import PhaseClock
from collab.node.net.traffic import Traffic

figures = import_module("bench_swarm.figures")
pages = import_module("bench_swarm.pages")
plan = import_module("bench_swarm.plan")
report = import_module("bench_swarm.report")


def outcome(**changes: Any) -> Any:
    fields = {
        "loss": 2.0, "samples": 640, "bytes_per_node_round": 100.0, "network_bytes_per_node_round": 250.0, "seconds": 8.0,
        "overhead_share": 0.1, "states": ("aa", "aa"), "parameters": 3000,
    }  # fmt: skip
    return figures.Outcome(**{**fields, **changes})


def result(**sparse: Any) -> Any:
    outcomes = {name: outcome() for name in plan.VARIANTS} | {plan.SPARSE: outcome(**sparse)}
    return figures.RunResult(outcomes, (4.0, 6.0), 0.001, 0.004)


def collected(*results: Any) -> dict[str, Any]:
    found: dict[str, Any] = figures.all_figures(results, plan.quick(), 2)
    return found


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=9))
def test_a_median_stands_between_its_spread(values: list[float]) -> None:
    found = figures.with_spread("x", values, 3)
    low, high = found["x_spread"]
    assert low <= found["x"] <= high
    assert found["x"] == pytest.approx(median(values), abs=1e-3)
    assert (low, high) == (pytest.approx(min(values), abs=1e-3), pytest.approx(max(values), abs=1e-3))


def test_what_was_never_measured_has_no_median() -> None:
    with pytest.raises(ValueError, match="join_seconds was never measured"):
        figures.with_spread("join_seconds", [], 2)


def test_the_json_has_what_scripts_read() -> None:
    found = json.loads(json.dumps(collected(result(), result(loss=1.9), result(loss=2.2))))
    for name in ("dense", "sparse", "single", "single_same_samples"):
        for figure in ("loss", "samples", "bytes_per_node_round", "seconds"):
            assert isinstance(found[name][figure], int | float)
            assert len(found[name][f"{figure}_spread"]) == 2
    for figure in ("fp16_bytes_ratio", "overhead_share", "join_seconds", "idle_cpu_share"):
        assert isinstance(found[figure], float)
        assert len(found[f"{figure}_spread"]) == 2
    assert found["state_hashes_equal"] is True
    assert (found["sparse"]["loss"], found["sparse"]["loss_spread"]) == (2.0, [1.9, 2.2])
    assert (found["runs"], found["joins"], found["join_seconds"]) == (3, 6, 5.0)


def test_every_figure_is_defined() -> None:
    found = collected(result())
    named = {name for name in (*found, *found["sparse"]) if f"{name}_spread" in {*found, *found["sparse"]}}
    assert named - {"samples", "loss_above_dense", "loss_below_single"} <= set(figures.DEFINITIONS)


def test_ratios_are_of_the_same_run() -> None:
    found = collected(result(loss=2.1, bytes_per_node_round=60.0))
    assert found["fp16_bytes_ratio"] == 100.0
    assert found["loss_above_dense"] == pytest.approx(0.05)
    assert found["loss_below_single"] == pytest.approx(-0.05)


def test_one_node_that_differs_in_one_run_is_told() -> None:
    assert not collected(result(), result(states=("aa", "ab")))["state_hashes_equal"]


def test_a_page_is_read_as_the_node_writes_it() -> None:
    metrics, traffic = Metrics(), Traffic()
    metrics.read_traffic(traffic)
    clock = PhaseClock(metrics.phase)
    for phase, now in (("training", 0), ("training", 3), ("collecting", 8), ("voting", 9), ("final", 9.5), ("training", 10)):
        clock.enter(phase, now)
    traffic.sent.update(blob=700, gossip=40, rpc=2)
    traffic.received.update(blob=999)
    page = pages.parse_page(generate_latest(metrics.registry).decode())
    assert {phase: seconds for phase, seconds in page.phases.items() if seconds} == {
        "training": 8.0, "collecting": 1.0, "voting": 0.5, "final": 0.5,
    }  # fmt: skip
    assert page.bytes_sent == 742
    nothing = pages.Page({}, 42.0)
    assert pages.overhead_share(nothing, page) == pytest.approx(0.2)
    assert pages.bytes_between([(nothing, page), (nothing, page)]) == 1400


def test_no_time_has_no_overhead() -> None:
    page = pages.Page({"training": 3.0}, 0.0)
    assert pages.overhead_share(page, page) is None


def text_of(found: dict[str, Any]) -> str:
    console = Console(file=StringIO(), width=120)
    console.print(report.report(found))
    return str(console.file.getvalue())  # type: ignore[attr-defined]


def test_the_tables_say_what_was_reached() -> None:
    scale = plan.full(import_module("collab.node.event.file").embedded_event())
    missed = figures.all_figures([result(overhead_share=0.3, loss=1.8), result(overhead_share=0.2, loss=1.9)], scale, 2)
    lines = text_of(missed).splitlines()
    overhead = next(line for line in lines if "round overhead" in line)
    assert "25.0% (20.0%–30.0%)" in overhead
    assert "missed" in overhead
    assert "reached" in next(line for line in lines if "loss below" in line)


def test_a_quick_bench_does_not_judge_losses() -> None:
    lines = text_of(collected(result(loss=9.0))).splitlines()
    assert "too short to say" in next(line for line in lines if "loss above" in line)
    assert "reached" in next(line for line in lines if "state hashes" in line)
