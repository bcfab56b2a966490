"""The amendments that a store knows, forks included."""

from __future__ import annotations

from ...protocol.amendments import Amendments, SignedAmendment
from ...protocol.event import EventManifest
from .index import Index


class KnownAmendments:
    """The amendments of one store, each checked before it came in."""

    def __init__(self, index: Index) -> None:
        self._index = index

    def add(self, signed: SignedAmendment) -> None:
        """Keep an amendment, durably when this returns. Harmless if it is known."""
        row = (signed.name, signed.content.number, signed.encode())
        self._index.write("INSERT OR IGNORE INTO amendments VALUES (?, ?, ?)", row)

    def of(self, event: EventManifest) -> Amendments:
        """Return all, as the event's. Raises RemoteProtocolError where the store is damaged."""
        rows = self._index.rows("SELECT body FROM amendments ORDER BY number, digest")
        return Amendments(event, (SignedAmendment.read(body) for (body,) in rows))
