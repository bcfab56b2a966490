"""Who is here in this round: the newest progress of every peer, and who said goodbye."""

from __future__ import annotations

from ..identity import PeerId
from ..messages import Progress, Signed

MAX_PEERS = 8192


class Presence:
    """Peers seen on one base. Sums are kept as messages come in, so a message costs the same in a large swarm."""

    def __init__(self, silence: float) -> None:
        """A peer that is silent for `silence` seconds is not waited for."""
        self.samples = 0
        self.goodbyes: dict[PeerId, Signed] = {}
        self._silence = silence
        self._newest: dict[PeerId, tuple[Progress, float]] = {}
        self._excluded: set[PeerId] = set()

    def note(self, peer: PeerId, progress: Progress, now: float, *, counts: bool = True) -> bool:
        """Take in a peer's progress; False if it is older than what we have, or one peer too many.

        `counts`: the round closes with its samples; not those of one who has yet to show an invite.
        """
        known = self._newest.get(peer)
        if known is not None and known[0].sequence >= progress.sequence:
            return False
        if known is None and len(self._newest) >= MAX_PEERS:
            return False
        self.samples += (progress.samples - (known[0].samples if known else 0)) * counts
        self._newest[peer] = (progress, now)
        self.goodbyes.pop(peer, None)
        return True

    def leave(self, peer: PeerId, signed: Signed) -> bool:
        """Take in a goodbye; its signer is not waited for any more."""
        if len(self.goodbyes) >= MAX_PEERS or peer in self.goodbyes:
            return False
        self.goodbyes[peer] = signed
        return True

    def exclude(self, peer: PeerId) -> None:
        """Do not wait for a peer whose contribution was refused."""
        if peer in self._newest:
            self._excluded.add(peer)

    def training(self, now: float) -> dict[PeerId, Progress]:
        """Return the peers that a round waits for: training, heard of lately, not gone."""
        return {
            peer: progress
            for peer, (progress, seen) in self._newest.items()
            if progress.trains and now - seen <= self._silence and peer not in self.goodbyes and peer not in self._excluded
        }

    def present(self, now: float) -> frozenset[PeerId]:
        """Return the peers that were heard of lately and did not leave."""
        heard = (peer for peer, (_, seen) in self._newest.items() if now - seen <= self._silence)
        return frozenset(peer for peer in heard if peer not in self.goodbyes)

    def newest(self, peer: PeerId) -> Progress | None:
        """Return a peer's newest progress."""
        known = self._newest.get(peer)
        return known[0] if known else None
