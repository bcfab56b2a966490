"""The parts of the page's state that follow from the event, the node's view of itself, or the history's sums."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from ...protocol.amendments import InForce
from ...protocol.event import EventManifest
from ..amendments.words import ANNOUNCEMENTS, end_words, pause_words
from ..display.view import NodeView
from ..units import seconds_text
from .ledger import Ledger, RoundLine
from .reasons import words
from .state import Table

_NEWEST_ROUNDS = 60
_MOST_ROUNDS = 480


def event_values(event: EventManifest, state: InForce, round: int) -> dict[str, Any]:
    """Return what the page says of the event, with what coordinators decided up to now; `round` is the newest commit's."""
    model = event.model
    size = "" if model.family == "huggingface" else f", layers {model.layers}, width {model.width}"
    what = model.architecture if model.family == "huggingface" else model.family
    return {
        "id": event.digest.hex(),
        "name": event.name,
        "description": event.description,
        "model": f"{what}{size}",
        "data": event.data.name or event.data.path or event.data.source,
        "merge": event.merge.method,
        "coordinator": event.coordinator,
        "created": event.created,
        "invited": event.admission.mode == "invited",
        "deadline": seconds_text(event.rounds.deadline),
        "last_round": state.last_round,
        "over": state.is_over(round),
        "paused": pause_words(state) if state.paused else "",
        "announcements": [each.text for each in state.announcements[-ANNOUNCEMENTS:]],
        "decided": end_words(state, round),
        "steps": event.inner.steps,
    }


def node_values(view: NodeView) -> dict[str, Any]:
    """Return what the page says of the node that serves it; its addresses are nobody's business."""
    left = view.phase_seconds_left
    return {
        "peer": view.peer,
        "running": view.running,
        "trains": view.trains,
        "phase": view.phase,
        "seconds_left": None if left is None else round(left),
        "message": view.message,
        "step": view.step,
        "round": view.round,
        "peers": view.peers,
        "gossip_peers": view.gossip_peers,
        "restarts": view.restarts,
        "device": view.device,
        "waits": view.waits,
        "warning": view.warning,
    }


def totals(ledger: Ledger) -> dict[str, Any]:
    """Return the history in numbers."""
    newest, lines = ledger.newest, ledger.lines
    return {
        "round": newest.round if newest is not None else 0,
        "commit": newest.commit.hex() if newest is not None else "",
        "state": newest.state.hex() if newest is not None else "",
        "time": newest.time if newest is not None else 0,
        "members": len(newest.members) if newest is not None else 0,
        "samples": newest.total_samples if newest is not None else 0,
        "size": lines[-1].total_size if lines else 0,
        "accepted": sum(credit.contributions for credit in ledger.ranking),
        "refused": ledger.reasons.total(),
        "contributors": sum(credit.contributions > 0 for credit in ledger.ranking),
    }


def refusal_rows(ledger: Ledger) -> Table:
    """Return the newest refusals, by round, peer and reason."""
    return {
        f"{round}/{peer}/{reason}": {"round": round, "peer": peer, "why": words(reason)} for round, peer, reason in ledger.recent
    }


def round_row(line: RoundLine) -> dict[str, Any]:
    """Return what the page says of a round; what its gates showed is a table of its own."""
    return {name: value for name, value in asdict(line).items() if name not in ("state", "kept_out")}


def thinned(lines: list[RoundLine]) -> Iterable[RoundLine]:
    """Return the first round, the newest, and of those between every nth, n a power of two: at most some hundred."""
    older = max(0, len(lines) - _NEWEST_ROUNDS)
    step = 1
    while older // step > _MOST_ROUNDS - _NEWEST_ROUNDS:
        step *= 2
    return [line for number, line in enumerate(lines) if number >= older or number % step == 0]
