"""Prometheus' and Alertmanager's own checkers, and the unit tests of the rules. Left out where the tools are not here."""

from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import Path

import pytest
import yaml
from bench_people.expressions import MONITORING, rules
from bench_people.prometheus import configuration, find

RULES = sorted((MONITORING / "rules").glob("*.yml"))
TESTS = sorted((MONITORING / "rules" / "tests").glob("*.yml"))


def run(tool: str, *arguments: str | Path) -> str:
    """Run a tool, which must succeed, and return what it said; skip where it is not here."""
    program = find(tool)
    if program is None:
        pytest.skip(f"{tool} is not installed (Debian: prometheus, prometheus-alertmanager)")
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_configuration_is_valid() -> None:
    said = run("promtool", "check", "config", MONITORING / "prometheus.yml")
    assert f"{len(RULES)} rule files found" in said


def test_the_configuration_of_the_live_test_is_the_same_but_for_ports_and_intervals(tmp_path: Path) -> None:
    path = tmp_path / "prometheus.yml"
    path.write_text(configuration(12345))
    assert f"{len(RULES)} rule files found" in run("promtool", "check", "config", path)
    ours, shipped = (yaml.safe_load(text.read_text()) for text in (path, MONITORING / "prometheus.yml"))
    assert [job["job_name"] for job in ours["scrape_configs"]] == [job["job_name"] for job in shipped["scrape_configs"]]
    assert ours["scrape_configs"][1]["http_sd_configs"][0]["url"] == "http://127.0.0.1:12345/sd"


def test_the_rules_are_valid() -> None:
    assert len(RULES) == 2
    run("promtool", "check", "rules", "--lint-fatal", *RULES)


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_the_rules_do_what_their_unit_tests_say(path: Path) -> None:
    assert "SUCCESS" in run("promtool", "test", "rules", path)


def test_every_alert_has_a_unit_test_and_says_what_to_do() -> None:
    text = (MONITORING / "rules" / "tests" / "alerts.yml").read_text()
    groups = yaml.safe_load((MONITORING / "rules" / "alerts.yml").read_text())["groups"]
    for rule in (rule for group in groups for rule in group["rules"]):
        assert f'alertname="{rule["alert"]}' in text or f"alertname: {rule['alert']}" in text
        assert rule["annotations"].keys() == {"summary", "action"}
        assert rule["labels"]["severity"] in ("info", "warning", "critical")
    assert set(Counter(rule.name for rule in rules()).values()) == {1}


def test_alertmanagers_example_is_valid_and_names_alerts_that_exist() -> None:
    run("amtool", "check-config", MONITORING / "alertmanager.yml")
    example = yaml.safe_load((MONITORING / "alertmanager.yml").read_text())
    named = {
        name
        for rule in example["inhibit_rules"]
        for matcher in (*rule["source_matchers"], *rule["target_matchers"])
        for name in matcher.split('"')[1].split("|")
    }
    assert named <= {rule.name for rule in rules()}
