"""Snapshots that peers say they have."""

from __future__ import annotations

from collections import Counter

from ...protocol.exchange import SnapshotOffer
from ...protocol.messages import Blob

_OFFERS_A_COMMIT = 16
_OFFERED_COMMITS = 64


class SnapshotOffers:
    """Which blobs peers say to be the state after which commits: claims, until one is loaded and has the commit's state hash.

    Each peer has one word on a commit. All who made a snapshot made the same bytes, so what several say is tried first: one liar
    can neither crowd the others out nor have a newcomer wait for what he serves a byte at a time.
    """

    def __init__(self) -> None:
        self._said: dict[bytes, dict[str, Blob]] = {}

    def add(self, offer: SnapshotOffer, peer: str) -> None:
        """Note what `peer` offers; the oldest are forgotten when there are too many."""
        said = self._said.setdefault(offer.commit, {})
        if peer in said or len(said) < _OFFERS_A_COMMIT:
            said[peer] = offer.blob
        if len(self._said) > _OFFERED_COMMITS:
            del self._said[next(iter(self._said))]

    def drop(self, commit: bytes, blob: Blob) -> None:
        """Forget an offer that was not what it said."""
        others = {peer: other for peer, other in self._said.pop(commit, {}).items() if other != blob}
        if others:
            self._said[commit] = others

    def of(self, commit: bytes) -> list[Blob]:
        """Return what is offered as the state after `commit`, what most peers offer first."""
        return [blob for blob, _ in self._counted(commit).most_common()]

    def are_agreed(self, commit: bytes) -> bool:
        """Say whether two peers or more offer the same as the state after `commit`."""
        return any(count > 1 for count in self._counted(commit).values())

    def _counted(self, commit: bytes) -> Counter[Blob]:
        return Counter(self._said.get(commit, {}).values())

    def __contains__(self, commit: object) -> bool:
        return bool(self._said.get(commit)) if isinstance(commit, bytes) else False
