"""Reading a node for the page: its store, and what the running daemon says, made into one `State`.

values  event       what is trained, and how
        node        the node whose page this is: peer, running, phase, seconds_left, message, …
        totals      the whole history in numbers
        reasons     contributions refused, by reason in words
        gates       the event's gates, and how many contributions each kept out
        tags        commits by the names that this node gave them
        traffic     bytes by kind, messages refused by reason, both of this node since it started
        parts       which processes of this node work
        reading     how far the history is read, while it is
tables  rounds      commits by round: the newest, and older ones thinned out
        held_out    held-out losses that this node measured, by round
        peers       by peer id: who is here, what they do, what they gave
        refusals    the newest refused contributions
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from ...protocol.event import EventManifest
from ...protocol.gates import refusal_of
from .. import held_out, keys
from ..control import ControlError, NotRunning, call
from ..errors import UserError
from ..home import EventFolder, Home
from ..leaderboard import read_names
from ..reading import open_store
from ..store import Store
from ..units import seconds_text
from ..view import NodeView
from .facts import read_commit
from .ledger import Ledger, RoundLine
from .people import peer_rows
from .reasons import words
from .state import State, Table

_ASK_SECONDS = 2.0
_FOLD_SECONDS = 0.5
_NEWEST_ROUNDS = 60
_MOST_ROUNDS = 480
_MOST_TAGS = 100
_TAGS = "tags/"


class Reader:
    """Blocks for a moment in each call: use it from one thread, which is not the one that serves."""

    def __init__(self, home: Home, folder: EventFolder) -> None:
        """Raises UserError if the event cannot be read."""
        self._home = home
        self._folder = folder
        self._event = folder.manifest().open()
        self._store: Store | None = None
        self._ledger = Ledger()
        self._fixed = {"event": event_values(self._event)}

    def close(self) -> None:
        """Close the store. Harmless if it is not open."""
        if self._store is not None:
            self._store.close()
            self._store = None

    def read(self) -> State:
        """Return what the page shows now. While a long history is being read, each call goes a little further."""
        waiting = self._read_history()
        view, swarm = self._ask()
        ledger, store = self._ledger, self._store
        measured, names, tags = (held_out.read(store), read_names(store), tagged(store)) if store is not None else ({}, {}, {})
        values = {
            **self._fixed,
            "node": node_values(view),
            "totals": totals(ledger),
            "gates": gates(self._event, ledger),
            "tags": tags,
            "reasons": {words(reason): count for reason, count in ledger.reasons.most_common()},
            "traffic": {name: swarm.get(name, {}) for name in ("sent", "received", "refused")},
            "parts": swarm.get("parts", {}),
            "reading": {"read": len(ledger.lines), "left": waiting},
        }
        tables: dict[str, Table] = {
            "rounds": {str(line.round): asdict(line) for line in thinned(ledger.lines)},
            "held_out": {str(round): {"loss": loss} for round, loss in measured.items()},
            "peers": peer_rows(ledger, swarm, view.peer, names),
            "refusals": refusal_rows(ledger),
        }
        return State(values, tables)

    def evaluate(self, timeout: float) -> None:
        """Have the node measure its newest weights on the held-out samples. Raises ControlError."""
        call(self._home.path, "evaluate", timeout=timeout)

    # The history

    def _read_history(self) -> int:
        """Fold in commits for a moment; return how many are left."""
        if self._store is None:
            try:
                self._store = open_store(self._folder)
            except UserError:  # a node that has just joined has none yet
                return 0
        store, ledger = self._store, self._ledger
        newest = ledger.newest
        if newest is not None and store.at_round(newest.round) != newest.commit:  # another branch won
            ledger = self._ledger = Ledger()
            newest = None
        left = store.digests_after(newest.commit) if newest is not None else store.digests()[::-1]
        ends = time.monotonic() + _FOLD_SECONDS
        for number, digest in enumerate(left):
            if time.monotonic() > ends:
                return len(left) - number
            ledger.take(read_commit(store, digest))
        return 0

    # The daemon

    def _ask(self) -> tuple[NodeView, dict[str, Any]]:
        """Return what the daemon says, or what can be said without it."""
        try:
            view = NodeView.from_dict(call(self._home.path, "status", timeout=_ASK_SECONDS))
            if view.event_id == self._event.digest.hex():
                return view, call(self._home.path, "swarm", timeout=_ASK_SECONDS)
        except NotRunning:
            return self._stopped("does not run: this is its history"), {}
        except ControlError:
            return self._stopped("does not answer: this is its history"), {}
        return self._stopped("is in another event now: this is its history of this one"), {}

    def _stopped(self, message: str) -> NodeView:
        newest = self._ledger.newest
        return NodeView(
            event=self._event.name,
            event_id=self._event.digest.hex(),
            peer=keys.load(self._home.identity_path).peer_id,
            running=False,
            trains=False,
            phase="stopped",
            round=newest.round if newest is not None else 0,
            message=message,
        )


def event_values(event: EventManifest) -> dict[str, Any]:
    """Return what the page says of the event."""
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
        "last_round": event.rounds.last_round,
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


def gates(event: EventManifest, ledger: Ledger) -> list[dict[str, Any]]:
    """Return the event's gates."""
    return [
        {"name": gate.name, "kind": gate.kind, "rounds": gate.rounds, "refused": ledger.reasons[refusal_of(gate.name)]}
        for gate in event.gate
    ]


def tagged(store: Store) -> dict[str, str]:
    """Return the commits in hex that tags point at, by the tags' short names; the first hundred."""
    tags = store.refs.all(_TAGS)
    return {name.removeprefix(_TAGS): commit.hex() for name, commit in list(tags.items())[:_MOST_TAGS]}


def refusal_rows(ledger: Ledger) -> Table:
    """Return the newest refusals, by round, peer and reason."""
    return {
        f"{round}/{peer}/{reason}": {"round": round, "peer": peer, "why": words(reason)} for round, peer, reason in ledger.recent
    }


def thinned(lines: list[RoundLine]) -> Iterable[RoundLine]:
    """Return the first round, the newest, and of those between every nth, n a power of two: at most some hundred."""
    older = max(0, len(lines) - _NEWEST_ROUNDS)
    step = 1
    while older // step > _MOST_ROUNDS - _NEWEST_ROUNDS:
        step *= 2
    return [line for number, line in enumerate(lines) if number >= older or number % step == 0]
