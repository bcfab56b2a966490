"""The proposals that a store knows, and what became of them. Their payloads are blobs.

Which commit merged a proposal stands in the commit alone: so it does not matter which of the two came first, or how.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from ...protocol.commit import Commit
from ...protocol.errors import RemoteProtocolError
from ...protocol.identity import PeerId
from ...protocol.messages import Signed
from ...protocol.proposal import ModelProposal, open_merge, open_proposal
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
    """The proposals of one store, whose commits `commit` returns; it raises KeyError for one that was lost."""

    def __init__(self, index: Index, commit: Callable[[bytes], Commit]) -> None:
        self._index = index
        self._commit = commit

    def add(self, signed: Signed) -> None:
        """Keep a proposal, whose payload is here. Harmless if it is known."""
        self._index.write("INSERT OR IGNORE INTO proposals VALUES (?, ?, NULL)", (signed.digest, signed.encode()))

    def all(self) -> list[Proposed]:
        """Return all, in the order of their makers' clocks."""
        found, merged = [], dict(self._merged())
        for envelope in self.envelopes().values():
            signed = Signed.decode(envelope)
            found.append(Proposed(signed, open_proposal(envelope)[1], merged.get(signed.digest)))
        return sorted(found, key=lambda each: (each.proposal.time, each.digest))

    def _merged(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield which proposals the commits that are here have merged, each with its commit; of several the oldest comes last."""
        proven = 'SELECT "commit" FROM certificates'
        unproven = f"SELECT digest FROM commits WHERE digest NOT IN ({proven}) ORDER BY round DESC, digest"
        for (digest,) in self._index.rows(unproven):  # what people made has no certificate, what a round made has one
            with suppress(KeyError, RemoteProtocolError):  # `fsck` tells of it
                commit = self._commit(bytes(digest))
                if commit.method == "proposals":
                    yield from ((Signed.decode(each).digest, commit.digest) for each in open_merge(commit)[1].proposals)

    def envelopes(self) -> dict[bytes, bytes]:
        """Return all signed envelopes by their digests, not opened."""
        return {bytes(digest): bytes(envelope) for digest, envelope in self._index.rows("SELECT digest, envelope FROM proposals")}

    def envelope(self, digest: bytes) -> bytes | None:
        """Return a signed envelope, not opened; None if it is not here."""
        found = self._index.one("SELECT envelope FROM proposals WHERE digest = ?", (digest,))
        return None if found is None else bytes(found)
