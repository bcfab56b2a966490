"""`doctor`: a look at this machine and, if it runs, at the node."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .flags import ConfigFlag, HomeFlag, JsonFlag, settings_of

if TYPE_CHECKING:
    from ..doctor.machine import Finding
    from ..home import Home

_PROBE_SECONDS = 60.0
_MARKS = {"ok": "ok  ", "note": "note", "bad": "BAD ", "unknown": "?   "}


def doctor(
    home: HomeFlag = None,
    config: ConfigFlag = None,
    ntp: Annotated[str, typer.Option("--ntp", metavar="HOST", help="Compare the clock with this time server.")] = "",
    as_json: JsonFlag = False,
) -> None:
    """Say what works, and what to do about what does not. Exits with 1 if something is bad."""
    from ..doctor.machine import examine_machine, worst
    from ..home import Home

    settings = settings_of(config, home=home)
    node_home = Home(settings.home)
    probed = _probe(node_home)
    findings = list(examine_machine(node_home, settings, running=probed is not None))
    findings += _network(probed, ntp)
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], ensure_ascii=False))
    else:
        _show(findings)
    raise typer.Exit(worst(findings))


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


def _show(findings: list[Finding]) -> None:
    width = max(len(finding.what) for finding in findings)
    for finding in findings:
        typer.echo(f"{_MARKS[finding.state]}  {finding.what:<{width}}  {finding.text}")
        if finding.advice:
            typer.echo(f"{'':<{width + 8}}→ {finding.advice}")
