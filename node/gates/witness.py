"""A node's own word on the commits that became final: what its gates showed, signed and kept.

Members of a committee ran the gates before they voted. A node that does not train has time, so it runs them on every other commit
too: once that is final, while the worker still holds the version before it.
"""

from __future__ import annotations

import structlog

from ...protocol.commit import Commit
from ...protocol.event import EventManifest
from ...protocol.history import History
from ...protocol.identity import Identity
from ..processes.ipc import ChannelClosed, RemoteFailure
from ..rounds.fetching import Unavailable
from ..store import Store
from . import own_verdicts
from .gatekeeper import Gatekeeper

log = structlog.get_logger()


class Witness:
    """Signs with `identity`, keeps in `store`."""

    def __init__(self, event: EventManifest, identity: Identity, history: History, store: Store, gates: Gatekeeper) -> None:
        self._event = event
        self._identity = identity
        self._history = history
        self._store = store
        self._gates = gates

    async def see(self, commit: Commit, *, tests: bool) -> None:
        """Keep what the gates showed of a final commit; `tests`: run those that did not run here. The worker holds its base."""
        if not self._event.round_gates() or not commit.accepted:
            return
        ancestry = self._history.ancestry(commit.base)
        if tests and not self._gates.has_shown(commit.state):
            try:
                await self._gates.test(commit, ancestry)
            except (Unavailable, RemoteFailure, ChannelClosed) as error:
                log.warning("a commit's gates cannot be run here", round=commit.round, why=str(error))
        shown = self._gates.take_shown(commit.state)
        if shown:
            made = [result.sign(self._identity, self._event, commit, ancestry.base) for result in shown]
            own_verdicts.keep(self._store, made)
            for signed in made:
                self._store.verdicts.hear(signed)
