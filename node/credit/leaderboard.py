"""The credit of an event's peers, kept up to date beside a running node, and the names that they chose to be shown by."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping

from ...protocol.canonical import DOCUMENT_LIMITS, decode, encode
from ...protocol.commit import Commit
from ...protocol.credits import Credit, CreditBook
from ...protocol.errors import RemoteProtocolError
from ...protocol.event import EventManifest
from ...protocol.identity import PeerId
from ...protocol.names import check_name
from ..store import Store

_COMMITS_A_TURN = 20
_NOTE = "names"
_LOSSES = 64
_MOST_NAMES = 4096


class Leaderboard:
    """Follows the store's chain; a branch that lost is forgotten."""

    def __init__(self, event: EventManifest, store: Store, on_commit: Callable[[Commit], None] = lambda commit: None) -> None:
        """`on_commit` hears of every commit of the chain when it is counted."""
        self._event = event
        self._store = store
        self._on_commit = on_commit
        self._book = CreditBook(event)
        self._last: bytes | None = None
        self._ranking: tuple[Credit, ...] = ()
        self._places: dict[PeerId, int] = {}
        self.losses: deque[float] = deque(maxlen=_LOSSES)
        self.names: Mapping[PeerId, str] = {}

    @property
    def ranking(self) -> tuple[Credit, ...]:
        """Everybody's credit when it was last brought up to date, the greatest first."""
        return self._ranking

    def place(self, peer: PeerId) -> tuple[int | None, Credit]:
        """Return a peer's rank from 1 (None: it gave nothing yet) and its credit."""
        return self._places.get(peer), self._book.of(peer)

    def first(self, count: int) -> list[tuple[str, int]]:
        """Return the names (or the ends of the peer ids) and samples of the first `count` peers."""
        return [(self.names.get(credit.peer) or f"…{credit.peer[-6:]}", credit.samples) for credit in self._ranking[:count]]

    async def update(self) -> None:
        """Count the commits that are new, a few at a time: a long history does not hold the loop up."""
        if self._last is None or not self._store.on_chain(self._last):
            self._book, self._last = CreditBook(self._event), self._store.at_round(0)
            self.losses.clear()
        if self._last is None:
            return
        new = self._store.digests_after(self._last)
        for number, digest in enumerate(new):
            commit = self._store.commit(digest)
            self._book.add(commit)
            self._on_commit(commit)
            self._last = digest
            if commit.loss is not None:
                self.losses.append(commit.loss)
            if number % _COMMITS_A_TURN == _COMMITS_A_TURN - 1:
                await asyncio.sleep(0)
        if new:
            self._ranking = self._book.ranking()
            self._places = {credit.peer: place for place, credit in enumerate(self._ranking, 1)}


def count_credits(event: EventManifest, store: Store, last: Commit) -> CreditBook:
    """Return the credit after the chain's commits up to `last`."""
    start = store.at_round(0)
    assert start is not None
    digests = store.digests_after(start, last.round)
    return CreditBook(event, (store.commit(digest) for digest in digests))


def read_names(store: Store) -> dict[PeerId, str]:
    """Return the names that peers of this event chose, as this node heard of them."""
    try:
        found = decode(store.note(_NOTE) or b"", DOCUMENT_LIMITS)
        rows = found if isinstance(found, dict) else {}
        return {str(peer): check_name(str(name)) for peer, name in rows.items()}
    except (RemoteProtocolError, ValueError):
        return {}


def remember_names(store: Store, heard: Iterable[tuple[PeerId, str]], credited: Iterable[PeerId]) -> Mapping[PeerId, str]:
    """Keep the names of those whom the history knows (`credited`), beside those known; an empty name takes a name back."""
    members = set(credited)
    known = read_names(store)
    names = dict(known)
    for peer, name in heard:
        if peer in members and name and (peer in names or len(names) < _MOST_NAMES):
            names[peer] = name
        elif peer in members and not name:
            names.pop(peer, None)
    if names != known:
        store.put_note(_NOTE, encode(names))
    return names
