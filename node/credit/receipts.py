"""What this node got from whom and has not said in a merged contribution yet: where its receipts come from.

Who gave which bytes of a blob is remembered until a commit of the chain turns out to need the blob, so that nobody earns anything
by handing out what is of no use. A receipt stays open until a commit has merged the contribution that carries it. What is open is
written down at the end of a round and with each contribution; a node that is killed loses what came after that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from ...protocol.canonical import DOCUMENT_LIMITS, decode, encode
from ...protocol.commit import Commit
from ...protocol.identity import PeerId, peer_id_of, public_key_of
from ...protocol.messages import MAX_RECEIPTS, MAX_RECEIVED, Contribution, Receipt
from ..store import Store

_NOTE = "received"
_MOST_BLOBS = 16 * 1024
_MOST_PEERS = 4096


class OpenReceipts:
    """Bytes by peer, those first that have waited longest: so everybody's turn comes, however few receipts a contribution has."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._fetched: dict[bytes, Mapping[PeerId, int]] = {}
        self._open = _read(store)
        self._is_saved = True

    def fetched(self, digest: bytes, donors: Mapping[PeerId, int]) -> None:
        """Remember how many bytes of a blob, whose hash was right, came from whom."""
        self._fetched[digest] = donors
        if len(self._fetched) > _MOST_BLOBS:
            del self._fetched[next(iter(self._fetched))]

    def needed_by(self, commit: Commit) -> None:
        """Open receipts for a commit of the chain and for what it merged."""
        claims = [claim for _, claim in commit.contributions()]
        fishers = [claim.fisher.sha256 for claim in claims if claim.fisher is not None]
        self.needed([commit.digest, *(claim.payload.sha256 for claim in claims), *fishers])

    def needed(self, digests: Iterable[bytes]) -> None:
        """Open receipts for these blobs, as far as they were fetched."""
        for digest in digests:
            for peer, size in self._fetched.pop(digest, {}).items():
                if peer in self._open or len(self._open) < _MOST_PEERS:
                    self._open[peer] = min(MAX_RECEIVED, self._open[peer] + size)
                    self._is_saved = False

    def next(self, outstanding: Iterable[Contribution]) -> tuple[Receipt, ...]:
        """Return the receipts of a new contribution; those of `outstanding` ones may yet be merged."""
        said = _said(outstanding)
        left = [(public_key_of(peer), size - said[peer]) for peer, size in self._open.items() if size > said[peer]]
        return tuple(sorted(left[:MAX_RECEIPTS]))

    def settle(self, merged: Iterable[Contribution]) -> None:
        """Forget what merged contributions said."""
        for peer, size in _said(merged).items():
            left = self._open.pop(peer, 0) - size
            if left > 0:
                self._open[peer] = left  # behind those who wait
            self._is_saved = False

    def save(self) -> None:
        """Make what is open outlive the process."""
        if not self._is_saved:
            self._store.put_note(_NOTE, encode([[peer, size] for peer, size in self._open.items()]))
            self._is_saved = True


def _said(claims: Iterable[Contribution]) -> Counter[PeerId]:
    said = Counter[PeerId]()
    for claim in claims:
        for key, size in claim.received:
            said[peer_id_of(key)] += size
    return said


def _read(store: Store) -> Counter[PeerId]:
    note = store.note(_NOTE)
    rows = decode(note, DOCUMENT_LIMITS) if note is not None else ()
    assert isinstance(rows, tuple)
    found = Counter[PeerId]()
    for row in rows:
        match row:
            case (str(peer), int(size)):
                found[peer] = size
    return found
