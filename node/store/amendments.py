"""The amendments that a store knows, forks included."""

from __future__ import annotations

from ...protocol.amendments import Amendments, SignedAmendment
from ...protocol.errors import RemoteProtocolError
from ...protocol.event import EventManifest
from ..errors import UserError
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
        """Return all, as the event's. Raises UserError where the store is damaged."""
        rows = self._index.rows("SELECT body FROM amendments ORDER BY number, digest")
        try:
            return Amendments(event, (SignedAmendment.read(body) for (body,) in rows))
        except RemoteProtocolError as error:
            hint = "move the event's folder away and join again"
            raise UserError(f"the amendments in {self._index.path} are damaged ({error})", hint) from error
