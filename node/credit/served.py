"""What a node did for others that no commit proves: bytes served and gates run, counted by the node itself over all its runs."""

from __future__ import annotations

from ..net.traffic import Traffic
from ..store import Store

_SERVED = "bytes_served"
GATES_RUN = "gates_run"
"""The store's counter of gates that this node ran on commits that became final."""


class Served:
    """Follows the bytes of versions and updates that were sent to peers who asked for them."""

    def __init__(self, store: Store, traffic: Traffic) -> None:
        self._store = store
        self._traffic = traffic
        self._saved = 0

    @property
    def bytes(self) -> int:
        """All bytes served, in this run and before."""
        return bytes_served(self._store) + self._traffic.sent["blob"] - self._saved

    def save(self) -> None:
        """Make it outlive the process."""
        new = self._traffic.sent["blob"] - self._saved
        if new:
            self._store.count(_SERVED, new)
            self._saved += new


def bytes_served(store: Store) -> int:
    """Return the bytes served that were saved."""
    return store.counter(_SERVED)


def gates_run(store: Store) -> int:
    """Return how many gates this node ran on commits that became final."""
    return store.counter(GATES_RUN)
