"""`scripts/bench people`: it writes what was measured, and no key for what was not."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from bench_people import __main__ as command
from bench_people import monitoring, outage, page
from bench_people.event import write_event
from bench_people.expressions import panels, rules
from bench_people.prometheus import Prometheus, PrometheusError, find, prometheus
from bench_people.stage import Stage

from collab.node.event.file import read_event_file
from collab.node.local_swarm import LocalSwarm, SwarmError


class Scraper(Prometheus):
    """Answers from a dictionary of what is left to be found, by a part of the expression."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:1")
        self.without: set[str] = set()
        self.asked: list[str] = []

    def query(self, expression: str) -> list[float]:
        self.asked.append(expression)
        return [] if any(part in expression for part in self.without) else [1.0]


def run(monkeypatch: pytest.MonkeyPatch, path: Path, **figures: Any) -> tuple[int, dict[str, Any]]:
    monkeypatch.setattr(command, "FIGURES", {name: (measure, {name: "what it means"}) for name, measure in figures.items()})
    monkeypatch.setattr(sys, "argv", ["people", "--quick", "--json", str(path)])
    return command.main(), json.loads(path.read_text())


def test_what_was_measured_is_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    code, written = run(monkeypatch, tmp_path / "out.json", first=lambda stage: {"first": 3, "quickly": stage.quick})
    assert code == 0
    assert written == {"first": 3, "quickly": True, "quick": True, "definitions": {"first": "what it means"}}


def test_what_could_not_be_measured_has_no_key_and_the_rest_is_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(stage: Stage) -> dict[str, Any]:
        raise PrometheusError("prometheus is not installed")

    code, written = run(monkeypatch, tmp_path / "out.json", lost=fails, found=lambda stage: {"found": 1})
    assert code == 1
    assert written == {"found": 1, "quick": True, "definitions": {"found": "what it means"}}
    assert "error: lost: prometheus is not installed" in capsys.readouterr().err


def test_a_swarm_that_cannot_be_set_up_stops_those_who_need_it_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    @contextmanager
    def broken(folder: Path) -> Iterator[LocalSwarm]:
        raise SwarmError("node-1 ended")
        yield

    def drawn(stage: Stage) -> dict[str, Any]:
        stage.quiet()
        return {"drawn": 1}

    monkeypatch.setattr("bench_people.stage._resting_swarm", broken)
    code, written = run(monkeypatch, tmp_path / "out.json", dashboard=drawn, volunteer=lambda stage: {"joined": stage.swarm})
    assert code == 1
    assert (written["drawn"], "joined" in written) == (1, False)
    assert "error: volunteer: node-1 ended" in capsys.readouterr().err


def test_everything_is_asked_until_it_has_had_data_once() -> None:
    scraper = Scraper()
    scraper.without = {"swarm:head_round:max", "collab_up"}
    made = monitoring.Survey(scraper, "127.0.0.1:7")
    made.ask()
    assert {"Swarm overview: Round", "One node: Parts", "PartDown", "instance:rounds_behind:max"} <= made.missing.keys()
    figures = made.figures()
    assert figures["panels"] == len(panels()) > figures["panels_with_data"] > 0
    assert figures["rules"] == len(rules()) > figures["rules_with_data"] > 0
    missing, scraper.without, scraper.asked = made.missing, set(), []
    made.ask()
    assert len(scraper.asked) == sum(map(len, missing.values()))
    assert made.missing == {}
    assert made.figures()["panels_with_data"] == figures["panels"]
    assert not any("$instance" in expression for expression in scraper.asked)


def test_without_prometheus_one_line_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("bench_people.prometheus.find", lambda tool: None)
    with pytest.raises(PrometheusError, match="not installed"), prometheus(tmp_path, 1):
        pass


@pytest.mark.skipif(find("prometheus") is None, reason="prometheus is not installed (Debian: prometheus)")
def test_a_prometheus_starts_answers_refuses_nonsense_and_ends(tmp_path: Path) -> None:
    with prometheus(tmp_path, 1) as running:
        assert running.query("vector(7)") == [7.0]
        assert running.query("vector(0) / 0") == []
        assert running.query("3") == [3.0]
        with pytest.raises(PrometheusError, match="parse error"):
            running.query("sum(")
    with pytest.raises(PrometheusError, match="refused"):
        running.query("3")


def test_a_long_one_is_measured_alone_for_as_long_as_it_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(command, "FIGURES", {})
    long = {name: (lambda folder, minutes: {"took": minutes}, {"took": "minutes"}, "a long one") for name in ("outage", "page")}
    monkeypatch.setattr(command, "LONG", long)
    monkeypatch.setattr(sys, "argv", ["people", "--page", "2.5", "--json", str(tmp_path / "out.json")])
    assert command.main() == 0
    assert json.loads((tmp_path / "out.json").read_text())["took"] == 2.5


@pytest.mark.parametrize("minutes", ["0", "-1", "nan", "inf", "soon"])
def test_minutes_are_a_time(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], minutes: str) -> None:
    monkeypatch.setattr(sys, "argv", ["people", "--outage", minutes])
    with pytest.raises(SystemExit, match="2"):
        command.main()
    assert "argument --outage: " in capsys.readouterr().err


def test_without_root_one_line_says_what_an_outage_needs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr(sys, "argv", ["people", "--outage", "5"])
    assert command.main() == 1
    (said,) = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("measuring")]
    assert said.startswith("error: outage: networks of our own need root and iproute2: run this as root")


def test_what_is_flat_has_no_growth_and_what_grows_has_it_by_the_hour() -> None:
    samples = [page.Sample(minute, 3.0 + minute / 60, 900, 70.0 + 0.5 * (minute % 2)) for minute in range(1, 61)]
    found = page.trends(samples)
    assert found["page_heap_mb"] == pytest.approx([3 + 1 / 60, 4.0, 1.0])
    assert found["page_nodes"] == [900, 900, 0.0]
    assert abs(found["page_dashboard_mb"][2]) < 0.05
    assert page.trends(samples[:1])["page_nodes"] == [900, 900, 0.0]


@pytest.mark.parametrize("changes", [{}, {"admission": {"mode": None}}, outage._EVENT, page._EVENT])
def test_the_events_of_the_benches_are_events(tmp_path: Path, changes: dict[str, dict[str, Any]]) -> None:
    rounds = read_event_file(write_event(tmp_path / "event.toml", changes)).rounds
    assert all(getattr(rounds, name) == value for name, value in changes.get("rounds", {}).items())
