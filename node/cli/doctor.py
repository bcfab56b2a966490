"""`doctor`: a look at this machine and, if it runs, at the node."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .flags import ConfigFlag, HomeFlag, JsonFlag, settings_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..doctor.machine import Finding
    from ..home import Home
    from ..settings import Settings

_PROBE_SECONDS = 60.0
_MARKS = {"ok": "ok  ", "note": "note", "bad": "BAD ", "unknown": "?   "}
_WHAT = 12  # the longest name of a finding
_INDENT = " " * (4 + 2 + _WHAT + 2)


def doctor(
    home: HomeFlag = None,
    config: ConfigFlag = None,
    ntp: Annotated[str, typer.Option("--ntp", metavar="HOST", help="Compare the clock with this time server.")] = "",
    as_json: JsonFlag = False,
) -> None:
    """Say what works, and what to do about what does not. Exits with 1 if something is bad."""
    from ..doctor.machine import worst
    from ..home import Home

    settings = settings_of(config, home=home)
    findings = []
    for finding in _findings(Home(settings.home), settings, ntp):
        findings.append(finding)
        if not as_json:  # as it comes: to load torch and to ask peers takes seconds
            _show(finding)
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], ensure_ascii=False))
    raise typer.Exit(worst(findings))


def _findings(home: Home, settings: Settings, ntp: str) -> Iterator[Finding]:
    from ..doctor.machine import examine_machine, examine_ports

    yield from examine_machine(home, settings)
    probed = _probe(home)
    if probed is None:
        yield from examine_ports(settings)
    yield from _network(probed, ntp)


def _probe(home: Home) -> dict[str, Any] | None:
    """Return what the running node found out; None if none runs."""
    from ..control.socket import NotRunning, call

    try:
        return call(home.path, "probe", timeout=_PROBE_SECONDS)
    except NotRunning:
        return None


def _network(probed: dict[str, Any] | None, ntp: str) -> list[Finding]:
    from ..doctor.machine import Finding
    from ..doctor.network import ask_ntp, clock_finding, network_findings

    found = list(network_findings(probed)) if probed is not None else []
    if probed is None:
        advice = "`join` one, and ask again: it then asks its peers"
        found.append(Finding("network", "unknown", "no node runs in this home", advice))
    if ntp:
        found = [finding for finding in found if finding.what != "clock"] + [clock_finding(ask_ntp(ntp), ntp)]
    elif probed is None:
        found.append(clock_finding(None, ""))
    return found


def _show(finding: Finding) -> None:
    _say(f"{_MARKS[finding.state]}  {finding.what:<{_WHAT}}  ", finding.text)
    if finding.advice:
        _say(f"{_INDENT}→ ", finding.advice)


def _say(before: str, text: str) -> None:
    """Print `before` and `text`, which goes on below itself where the terminal ends; in a file it is one line."""
    import textwrap

    width = max(len(before) + 20, shutil.get_terminal_size().columns) - len(before) if sys.stdout.isatty() else len(text) + 1
    first, *others = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False) or [""]
    typer.echo(before + first)
    for line in others:
        typer.echo(" " * len(before) + line)
