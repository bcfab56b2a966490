"""Reading a node for the page: its store, and what the running daemon says, made into one `State`.

values  event       what is trained, and how; what coordinators decided: the end, a pause, announcements
        node        the node whose page this is: peer, running, phase, seconds_left, message, …
        totals      the whole history in numbers
        reasons     contributions refused, by reason in words
        gates       the event's gates: how often each passed here, and how many contributions it kept out
        releases    what is wrong with the releases, if they cannot be shown
        tags        commits by the names that this node gave them
        traffic     bytes by kind, messages refused by reason, both of this node since it started
        parts       which processes of this node work
        reading     how far the history is read, while it is
tables  rounds      commits by round: the newest, and older ones thinned out
        held_out    held-out losses that this node measured, by round
        peers       by peer id: who is here, what they do, what they gave
        refusals    the newest refused contributions
        tested      by round: what the gates showed of the newest commits
        releases    by version: the commit, why it has this version, who signed which verdicts
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...protocol.amendments import Amendments, InForce
from ...protocol.errors import RemoteProtocolError
from .. import keys
from ..control.socket import ControlError, NotRunning, call
from ..credit.leaderboard import read_names
from ..display.view import NodeView
from ..errors import UserError
from ..gates import own_verdicts
from ..home import EventFolder, Home
from ..reading import open_store
from ..rounds import held_out
from ..store import Store
from .facts import read_commit
from .ledger import Ledger
from .people import peer_rows
from .quality import Measured, gate_rows, gate_values, release_rows
from .reasons import words
from .released import Released
from .state import State, Table
from .values import event_values, node_values, refusal_rows, round_row, thinned, totals

_ASK_SECONDS = 2.0
_FOLD_SECONDS = 0.5
_MOST_TAGS = 100
_TAGS = "tags/"


@dataclass(frozen=True)
class Notes:
    """What a store holds beside the history: held-out losses by round, names by peer, commits in hex by tag, gates' results."""

    measured: Mapping[int, float] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    tested: Measured = field(default_factory=dict)


class Reader:
    """Blocks for a moment in each call: use it from one thread, which is not the one that serves."""

    def __init__(self, home: Home, folder: EventFolder) -> None:
        """Raises UserError if the event cannot be read."""
        self._home = home
        self._folder = folder
        self._event = folder.manifest().open()
        self._store: Store | None = None
        self._ledger = Ledger(self._event)
        self._notes = Notes()
        self._released = Released(folder, self._event)
        self._amendments = Amendments(self._event)
        self._verdicts: tuple[bytes | None, Measured] = (None, {})

    @property
    def control(self) -> Path:
        """The socket of the node that is read."""
        return self._home.control_path

    def close(self) -> None:
        """Close the store. Harmless if it is not open."""
        if self._store is not None:
            self._store.close()
            self._store = None

    def read(self) -> State:
        """Return what the page shows now. While a long history is being read, each call goes a little further."""
        left, fails = self._try_to_read()
        view, swarm = self._ask()
        ledger, notes = self._ledger, self._notes
        values = {
            "event": event_values(self._event, self._in_force(), ledger.newest.round if ledger.newest is not None else 0),
            "node": node_values(view),
            "totals": totals(ledger),
            "gates": gate_values(self._event, ledger, notes.tested),
            "releases": {"problem": self._released.problem},
            "tags": dict(notes.tags),
            "reasons": {words(reason): count for reason, count in ledger.reasons.most_common()},
            "traffic": {name: swarm.get(name, {}) for name in ("sent", "received", "refused")},
            "parts": swarm.get("parts", {}),
            "reading": {"read": len(ledger.lines), "left": left, "fails": fails},
        }
        tables: dict[str, Table] = {
            "rounds": {str(line.round): round_row(line) for line in thinned(ledger.lines)},
            "held_out": {str(round): {"loss": loss} for round, loss in notes.measured.items()},
            "peers": peer_rows(ledger, swarm, view.peer, notes.names),
            "refusals": refusal_rows(ledger),
            "tested": gate_rows(ledger.lines, notes.tested),
            "releases": release_rows(self._released.releases, notes.names),
        }
        return State(values, tables)

    # The history

    def _try_to_read(self) -> tuple[int, bool]:
        """Go on reading the store; return how many commits are left, and whether it fails: then what was read is still shown."""
        try:
            if self._store is None:
                self._store = open_store(self._folder)
            left = self._read_history(self._store)
            for signed in self._store.amendments.all():
                self._amendments.add(signed)
            self._notes = Notes(
                held_out.read(self._store), read_names(self._store), tagged(self._store), self._tested(self._store)
            )
            self._released.read(self._store)
        except (UserError, RemoteProtocolError):
            fails = self._store is not None  # a node that has just joined has none yet
            self.close()
            return 0, fails
        return left, False

    def _in_force(self) -> InForce:
        """Return what coordinators decided, as far as it is here: a commit may name what this node still lacks."""
        named = self._ledger.newest.amendment if self._ledger.newest is not None else None
        return self._amendments.newest(named if named in self._amendments else None)

    def _tested(self, store: Store) -> Measured:
        """Return what the gates showed here; the signatures are checked when there is something new."""
        note = store.note(own_verdicts.NOTE)
        if note != self._verdicts[0]:
            self._verdicts = note, own_verdicts.read(note)
        return self._verdicts[1]

    def _read_history(self, store: Store) -> int:
        """Fold in commits for a moment; return how many are left."""
        ledger, newest = self._ledger, self._ledger.newest
        if newest is not None and store.at_round(newest.round) != newest.commit:  # another branch won
            ledger = self._ledger = Ledger(self._event)
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
            peer=keys.require(self._home.identity_path).peer_id,
            running=False,
            trains=False,
            phase="stopped",
            round=newest.round if newest is not None else 0,
            message=message,
        )


def tagged(store: Store) -> dict[str, str]:
    """Return the commits in hex that tags point at, by the tags' short names; the first hundred."""
    tags = store.refs.all(_TAGS)
    return {name.removeprefix(_TAGS): commit.hex() for name, commit in list(tags.items())[:_MOST_TAGS]}
