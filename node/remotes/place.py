"""One event's history in one home: where things are fetched to, and pushed from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ...protocol.event import EventManifest
from ..control.socket import NotRunning, call
from ..errors import UserError
from ..home import EventFolder, Home
from ..modules.index import Index
from ..store import Store


@dataclass(frozen=True)
class Place:
    """An event's folder in a home, with its store open for writing; `alone`: the home is locked, so that no node runs in it."""

    home: Home
    folder: EventFolder
    event: EventManifest
    store: Store
    alone: bool = False

    @property
    def packages(self) -> Index:
        """The packages among the event's blobs."""
        return Index(self.folder.store_path)


@contextmanager
def open_place(home: Home, folder: EventFolder) -> Iterator[Place]:
    """Open an event's store to write into it, beside a node that may be running. Raises UserError.

    Where no node runs, the home is locked: so no `gc` takes away what no ref reaches yet.
    """
    event = folder.manifest().open()
    with _guarded(home) as alone, Store.open_beside(folder.store_path) as store:
        if store.head() is None:
            from ..rounds.catch_up import restore_history  # imports the network, which a path needs none of

            restore_history(event, store)
        yield Place(home, folder, event, store, alone)


@contextmanager
def _guarded(home: Home) -> Iterator[bool]:
    """Say whether the home is locked for the block."""
    lock = home.lock()
    try:
        lock.__enter__()
    except UserError:
        if not is_running(home):
            raise
        yield False
        return
    try:
        yield True
    finally:
        lock.__exit__(None, None, None)


def is_running(home: Home) -> bool:
    """Say whether a daemon runs in this home: none collects garbage then."""
    try:
        call(home.path, "status")
    except NotRunning:
        return False
    return True
