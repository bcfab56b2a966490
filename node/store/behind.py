"""How far a node's weights are behind its chain. Commits are learned first; then the weights follow, and fetch what that takes.

Meanwhile a note in the store names the newest commit that the weights have reached. What later commits of the chain are made of
may not have been fetched yet. Where there is no note, as in a store that came whole, all of it was here.
"""

from __future__ import annotations

from ...protocol.commit import Commit
from .store import Store

_NOTE = "behind"
_NOTHING = b""


def has_nothing(store: Store) -> None:
    """Note that the chain begins without its first weights: they are still to come."""
    store.put_note(_NOTE, _NOTHING)


def moves_on(store: Store) -> None:
    """Note where the weights are; for the transaction that moves the head to commits whose payloads may not be here."""
    head = store.head()
    if head is not None and store.note(_NOTE) is None:
        store.put_note(_NOTE, head)


def reached(store: Store, commit: Commit) -> None:
    """Note that the weights are those of `commit`, and that what they were made of is here."""
    first = first_pending(store)
    if first is None:
        return
    if commit.digest == store.head():
        store.drop_note(_NOTE)
    elif commit.round >= first and store.on_chain(commit.digest):
        store.put_note(_NOTE, commit.digest)


def first_pending(store: Store) -> int | None:
    """Return the chain's first round whose payloads may not have been fetched yet; None if all were.

    0 stands for the first weights.
    """
    at = store.note(_NOTE)
    if at is None:
        return None
    if at == _NOTHING:
        return 0
    met = store.meets_chain(at)
    return None if met is None else met + 1
