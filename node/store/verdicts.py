"""The verdicts that a store knows: what peers signed about the versions of its history.

Some wait for a commit that carries them. Of those, what the owner made or was given stays until then; what was heard of over the
network may be forgotten before. The others stand in commits, and only where they stand is kept. What the owner dropped counts
for nothing, wherever it is, and is not heard again; to add it by hand takes that back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ...protocol.carried import Opened
from ...protocol.commit import Commit
from ...protocol.identity import PeerId
from ...protocol.messages import Signed
from ...protocol.verdict import Verdict, read_verdict
from ..failpoints import failpoint
from .index import Index


class Verdicts:
    """The verdicts of one store; `commit` returns a commit of it."""

    def __init__(self, index: Index, commit: Callable[[bytes], Commit]) -> None:
        self._index = index
        self._commit = commit

    # Waiting for a commit

    def add(self, verdicts: Iterable[Signed]) -> int:
        """Keep verdicts for the owner, all or none, whose signatures were checked; return how many are new."""
        with self._index.transaction():
            new = sum(self._add(signed) for signed in verdicts)
            failpoint("verdict-rows")
        failpoint("verdict-kept")
        return new

    def _add(self, signed: Signed) -> bool:
        for table in ("dropped", "heard"):
            self._index.write(f"DELETE FROM {table} WHERE digest = ?", (signed.digest,))
        return self._keep(signed)

    def hear(self, signed: Signed) -> bool:
        """Keep a verdict that came over the network, whose signature was checked; False if it is known, or was dropped."""
        with self._index.transaction():
            new = not self.is_dropped(signed.digest) and self._keep(signed)
            if new:
                self._index.write("INSERT INTO heard VALUES (?, ?)", (signed.digest, signed.signer))
        return new

    def _keep(self, signed: Signed) -> bool:
        row = (signed.digest, read_verdict(signed.encode())[1].candidate, signed.encode())
        return not self._is_carried(*row[:2]) and self._index.write("INSERT OR IGNORE INTO verdicts VALUES (?, ?, ?)", row) > 0

    def _is_carried(self, digest: bytes, candidate: bytes) -> bool:
        query = "SELECT 1 FROM carried WHERE candidate = ? AND digest = ?"
        return self._index.one(query, (candidate, digest)) is not None

    def waiting(self) -> list[Opened]:
        """Return the verdicts that no commit here carries, in the order of their digests."""
        rows = self._index.rows("SELECT envelope FROM verdicts ORDER BY digest")
        return [read_verdict(bytes(envelope)) for (envelope,) in rows]

    def heard(self) -> dict[bytes, PeerId]:
        """Return who signed those that came over the network, by their digests."""
        return {bytes(digest): signer for digest, signer in self._index.rows("SELECT digest, signer FROM heard")}

    def knows(self, signed: Signed, verdict: Verdict) -> bool:
        """Say whether there is nothing to be heard of a verdict: it waits, stands in a commit here, or was dropped."""
        waits = self._index.one("SELECT 1 FROM verdicts WHERE digest = ?", (signed.digest,)) is not None
        return waits or self.is_dropped(signed.digest) or self._is_carried(signed.digest, verdict.candidate)

    def forget(self, digests: Iterable[bytes]) -> None:
        """Forget some that wait for a commit."""
        with self._index.transaction():
            for digest in digests:
                for table in ("heard", "verdicts"):
                    self._index.write(f"DELETE FROM {table} WHERE digest = ?", (digest,))

    # In commits

    def carry(self, commit: Commit) -> None:
        """Note the verdicts of a commit that is here: they wait no longer."""
        opened = [read_verdict(envelope) for envelope in commit.verdicts]
        for signed, verdict in opened:
            row = (verdict.candidate, signed.digest, commit.digest)
            self._index.write("INSERT OR IGNORE INTO carried VALUES (?, ?, ?)", row)
        self.forget(signed.digest for signed, _ in opened)

    # All

    def about(self, state: bytes) -> list[Signed]:
        """Return what counts of the verdicts about the version with this state hash, in the order of their digests."""
        waiting = self._index.rows("SELECT envelope FROM verdicts WHERE candidate = ?", (state,))
        carriers = self._index.rows('SELECT DISTINCT "commit" FROM carried WHERE candidate = ?', (state,))
        envelopes = [bytes(envelope) for (envelope,) in waiting]
        envelopes += [envelope for (digest,) in carriers for envelope in self._commit(bytes(digest)).verdicts]
        opened = map(read_verdict, envelopes)
        found = {signed.digest: signed for signed, verdict in opened if verdict.candidate == state}
        return [found[digest] for digest in sorted(found) if not self.is_dropped(digest)]

    def drop(self, digest: bytes) -> None:
        """Count one no more, and do not hear it again."""
        with self._index.transaction():
            self.forget([digest])
            self._index.write("INSERT OR IGNORE INTO dropped VALUES (?)", (digest,))

    def is_dropped(self, digest: bytes) -> bool:
        """Say whether the owner does not want one to count."""
        return self._index.one("SELECT 1 FROM dropped WHERE digest = ?", (digest,)) is not None
