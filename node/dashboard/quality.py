"""What was tested and what was released, for the page: the event's gates, each commit's results, releases and their verdicts.

Each node measures gates for itself, so the page shows what the node that serves it has measured. What the gates kept out stands
in the history and is the same everywhere; so are the verdicts in a release, which their signers stand for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ...protocol.event import EventManifest
from ...protocol.gates import refusal_of
from ...protocol.verdict import Measurement
from .ledger import Ledger, RoundLine
from .released import Opened
from .state import Table

_NEWEST_COMMITS = 60
_MOST_RELEASES = 50
_MOST_VERDICTS = 64

Measured = Mapping[bytes, Mapping[str, Measurement]]


def gate_values(event: EventManifest, ledger: Ledger, measured: Measured) -> list[dict[str, Any]]:
    """Return the event's gates, how often each passed of all times that this node ran it, and its newest result in words."""
    found = []
    for gate in event.gate:
        results = [measured[line.state][gate.name] for line in ledger.lines if gate.name in measured.get(line.state, {})]
        found.append({
            "name": gate.name, "kind": gate.kind, "rounds": gate.rounds, "refused": ledger.reasons[refusal_of(gate.name)],
            "run": len(results), "passed": sum(result.passed for result in results),
            "newest": results[-1].sentence() if results else "",
        })  # fmt: skip
    return found


def gate_rows(lines: Sequence[RoundLine], measured: Measured) -> Table:
    """Return the newest commits' results, by round: of each gate that was run, and how many contributions it kept out."""
    rows = {}
    for line in lines[-_NEWEST_COMMITS:]:
        results = [_result(result) for result in measured.get(line.state, {}).values()]
        if results or line.kept_out:
            rows[str(line.round)] = {"round": line.round, "results": results, "kept_out": dict(line.kept_out)}
    return rows


def _result(measured: Measurement) -> dict[str, Any]:
    return {
        "gate": measured.gate, "passed": measured.passed, "clear": measured.reason != "unclear", "words": measured.sentence()
    }


def release_rows(releases: Iterable[Opened], names: Mapping[str, str]) -> Table:
    """Return the newest releases, by version."""
    rows = {}
    for order, opened in enumerate(list(releases)[:_MOST_RELEASES]):
        release, verdicts = opened.release, opened.verdicts
        rows[release.version] = {
            "order": order,
            "commit": release.commit.hex(),
            "round": release.round,
            "time": release.time,
            "why": opened.why,
            "message": release.message,
            "releaser": release.releaser,
            "name": names.get(release.releaser, ""),
            "peers": len({peer for peer, _ in verdicts}),
            "verdicts": [{**_result(measured), "peer": peer} for peer, measured in verdicts[:_MOST_VERDICTS]],
        }
    return rows
