"""The rows of the peers: who is here, what they do, and what they gave."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...protocol.credits import Credit
from .ledger import Ledger
from .state import Table

_MOST_PEERS = 512


def peer_rows(ledger: Ledger, swarm: Mapping[str, Any], me: str, names: Mapping[str, str]) -> Table:
    """Join what the daemon says with the history. Those who are here come first where there are too many, then who gave most.

    `here`: the node hears of the peer, or it was on the roster of the newest commit while no node runs that could hear.
    """
    heard: Mapping[str, Mapping[str, Any]] = swarm.get("peers", {})
    members = ledger.newest.members if ledger.newest is not None else frozenset()
    credits = {credit.peer: credit for credit in ledger.ranking}
    committee = frozenset(swarm.get("committee", ()))
    rows = {}
    for peer in {*heard, *members, *credits}:
        said = heard.get(peer, {})
        rows[peer] = {
            "here": peer in heard if heard else peer in members,
            "self": peer == me,
            "member": peer in members,
            "committee": peer in committee,
            "gossip": bool(said.get("gossip")),
            "trains": bool(said.get("trains")),
            "done": bool(said.get("done")),
            "steps": said.get("steps"),
            "rate": rounded(said.get("rate")),
            "version": said.get("version", ""),
            "name": names.get(peer, ""),
            **_given(credits.get(peer)),
        }
    if len(rows) <= _MOST_PEERS:
        return rows
    first = sorted(rows, key=lambda peer: (not rows[peer]["here"], -rows[peer]["samples"], peer))[:_MOST_PEERS]
    return {peer: rows[peer] for peer in first}


def _given(credit: Credit | None) -> dict[str, int]:
    if credit is None:
        return dict.fromkeys(("accepted", "refused", "checked", "samples", "size", "gates", "served"), 0)
    return {
        "accepted": credit.contributions, "refused": credit.refused, "checked": credit.checked, "samples": credit.samples,
        "size": credit.bytes, "gates": credit.gates, "served": credit.served,
    }  # fmt: skip


def rounded(rate: object) -> float | None:
    """Return a rate with three digits: what changes behind them is noise that would be sent to every page."""
    return float(f"{rate:.3g}") if isinstance(rate, int | float) else None
