"""Peers whose base is another than ours: who of us is behind, and whose last word on our base is still welcome."""

from __future__ import annotations

from ..certificates import certify
from ..commit import Certificate, open_attestation
from ..history import History
from ..identity import PeerId
from ..messages import Attestation, Signed
from .effects import Ahead, Behind
from .setting import Setting

_MAX_REMEMBERED = 8192


class Neighbours:
    """Says who is ahead or behind, at most once an interval for a peer."""

    def __init__(self, history: History, interval: float) -> None:
        """`interval` in seconds."""
        self._history = history
        self._interval = interval
        self._hinted: dict[PeerId, float] = {}

    def hint(self, peer: PeerId, base: bytes, round: int, now: float) -> Ahead | Behind | None:
        """Return what to do about a peer that speaks of a base that is not ours."""
        if now - self._hinted.get(peer, float("-inf")) < self._interval:
            return None
        if len(self._hinted) >= _MAX_REMEMBERED:
            self._hinted.clear()
        self._hinted[peer] = now
        return Ahead(peer) if base in self._history else Behind(peer, base, round)


def with_late_precommit(
    setting: Setting, certificate: Certificate, signed: Signed, attestation: Attestation
) -> Certificate:
    """Return the base's certificate with one more precommit, if this is one: the next roster credits everyone who attested."""
    opened = [open_attestation(envelope) for envelope in certificate.precommits]
    precommits = {known.signer: known for known, _ in opened}
    if attestation != opened[0][1] or signed.signer in precommits or signed.signer not in setting.last_committee(certificate):
        return certificate
    return certify(attestation, [*precommits.values(), signed])
