"""Bytes served: what contributors say that they received, and from whom, counted as far as it can be true.

A contribution carries receipts (`messages.Contribution.received`). Who served cannot write one, and who received gains nothing
by one; but two peers can agree to lie, so what a signer's receipts come to is bounded by what it can have needed: each payload
and each commit of the history so far, once, without the payloads that it made itself. What it did not claim of that, it may
claim later. A snapshot is worth at most what it stands for, the payloads that its receiver need not replay.

So one more pair that lies gains, for one peer, what an honest newcomer's receipts would give; more only by merged contributions
of more keys. Neither samples nor places in the ranking of those who have samples depend on receipts.
"""

from __future__ import annotations

from collections import Counter

from .commit import Commit
from .identity import PeerId, peer_id_of
from .messages import Blob, Contribution


class Receipts:
    """Follows a chain of commits; the state is a few numbers for each contributor."""

    def __init__(self) -> None:
        self._weight = 0
        self._made: Counter[PeerId] = Counter()
        self._claimed: Counter[PeerId] = Counter()

    def take(self, commit: Commit) -> dict[PeerId, int]:
        """Return how many bytes who served by this commit's receipts. Raises RemoteProtocolError as `contributions` does."""
        served: Counter[PeerId] = Counter()
        opened = commit.contributions()
        for signed, claim in opened:
            for peer, size in self._counted(signed.signer, claim):
                served[peer] += size
        for signed, claim in opened:
            size = payload_bytes(claim)
            self._weight += size
            self._made[signed.signer] += size
        self._weight += len(commit.encode())
        return dict(served)

    def _counted(self, signer: PeerId, claim: Contribution) -> list[tuple[PeerId, int]]:
        """Return what counts of a contribution's receipts: all, or the same part of each."""
        said = sum(size for _, size in claim.received)
        most = min(said, max(0, self._weight - self._made[signer] - self._claimed[signer]))
        counted = [(peer_id_of(key), size * most // said) for key, size in claim.received]
        self._claimed[signer] += sum(size for _, size in counted)
        return [(peer, size) for peer, size in counted if size]


def payload_bytes(claim: Contribution) -> int:
    """Return the bytes of a contribution's payload, with its Fisher values where it has them."""
    blobs: list[Blob] = [blob for blob in (claim.payload, claim.fisher) if blob is not None]
    return sum(blob.size for blob in blobs)
