"""Snapshots that peers say they have."""

from __future__ import annotations

from ...protocol.exchange import SnapshotOffer
from ...protocol.messages import Blob

_OFFERS_A_COMMIT = 4
_OFFERED_COMMITS = 64


class SnapshotOffers:
    """Which blobs peers say to be the state after which commits: claims, until one is loaded and has the commit's state hash."""

    def __init__(self) -> None:
        self._blobs: dict[bytes, list[Blob]] = {}

    def add(self, offer: SnapshotOffer) -> None:
        """Note an offer; the oldest are forgotten when there are too many."""
        blobs = self._blobs.setdefault(offer.commit, [])
        if offer.blob not in blobs and len(blobs) < _OFFERS_A_COMMIT:
            blobs.append(offer.blob)
        if len(self._blobs) > _OFFERED_COMMITS:
            del self._blobs[next(iter(self._blobs))]

    def drop(self, commit: bytes, blob: Blob) -> None:
        """Forget an offer that was not what it said."""
        others = [other for other in self._blobs.pop(commit, []) if other != blob]
        if others:
            self._blobs[commit] = others

    def of(self, commit: bytes) -> list[Blob]:
        """Return what is offered as the state after `commit`."""
        return list(self._blobs.get(commit, []))

    def __contains__(self, commit: object) -> bool:
        return bool(self._blobs.get(commit)) if isinstance(commit, bytes) else False
