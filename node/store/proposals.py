"""The proposals that a store knows, and what became of them. Their payloads are blobs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ...protocol.identity import PeerId
from ...protocol.messages import Signed
from ...protocol.proposal import ModelProposal, open_proposal
from .index import Index


@dataclass(frozen=True)
class Proposed:
    """A proposal that is here: who made it, and the commit that merged it, if one did."""

    signed: Signed
    proposal: ModelProposal
    merged: bytes | None

    @property
    def maker(self) -> PeerId:
        """Who signed it."""
        return self.signed.signer

    @property
    def digest(self) -> bytes:
        """What names it."""
        return self.signed.digest


class Proposals:
    """The proposals of one store."""

    def __init__(self, index: Index) -> None:
        self._index = index

    def add(self, signed: Signed) -> None:
        """Keep a proposal, whose payload is here. Harmless if it is known."""
        self._index.write("INSERT OR IGNORE INTO proposals VALUES (?, ?, NULL)", (signed.digest, signed.encode()))

    def all(self) -> list[Proposed]:
        """Return all, in the order of their makers' clocks."""
        rows = self._index.rows('SELECT envelope, "commit" FROM proposals')
        found = []
        for envelope, merged in rows:
            _, proposal = open_proposal(envelope)
            found.append(Proposed(Signed.decode(envelope), proposal, None if merged is None else bytes(merged)))
        return sorted(found, key=lambda each: (each.proposal.time, each.digest))

    def envelopes(self) -> dict[bytes, bytes]:
        """Return all signed envelopes by their digests, not opened."""
        return {bytes(digest): bytes(envelope) for digest, envelope in self._index.rows("SELECT digest, envelope FROM proposals")}

    def envelope(self, digest: bytes) -> bytes | None:
        """Return a signed envelope, not opened; None if it is not here."""
        found = self._index.one("SELECT envelope FROM proposals WHERE digest = ?", (digest,))
        return None if found is None else bytes(found)

    def mark_merged(self, digests: Iterable[bytes], commit: bytes) -> None:
        """Note that the commit, which is here, merged these."""
        with self._index.transaction():
            for digest in digests:
                self._index.write('UPDATE proposals SET "commit" = ? WHERE digest = ?', (commit, digest))
