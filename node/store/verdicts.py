"""The verdicts that a store knows: what peers signed about the versions of its history."""

from __future__ import annotations

from collections.abc import Iterable

from ...protocol.messages import Signed
from ...protocol.verdict import open_verdict
from .index import Index


class Verdicts:
    """The verdicts of one store."""

    def __init__(self, index: Index) -> None:
        self._index = index

    def add(self, verdicts: Iterable[Signed]) -> int:
        """Keep verdicts whose signatures were checked, all or none; return how many are new."""
        rows = [(signed.digest, open_verdict(signed).candidate, signed.encode()) for signed in verdicts]
        with self._index.transaction():
            return sum(self._index.write("INSERT OR IGNORE INTO verdicts VALUES (?, ?, ?)", row) for row in rows)

    def about(self, state: bytes) -> list[Signed]:
        """Return the verdicts about the version with this state hash, in the order of their digests."""
        rows = self._index.rows("SELECT envelope FROM verdicts WHERE candidate = ? ORDER BY digest", (state,))
        return [Signed.decode(envelope) for (envelope,) in rows]

    def drop(self, digest: bytes) -> None:
        """Forget one."""
        self._index.write("DELETE FROM verdicts WHERE digest = ?", (digest,))
