"""Who may contribute to an event: everyone, or whoever was invited; nobody who is banned."""

from .amendments.event import AmendedEvent
from .event import EventManifest
from .identity import Identity, PeerId, verify
from .messages import admission_bytes

SHUT_OUT = frozenset({"banned", "not_invited"})
"""The reasons that `refusal` gives."""


def refusal(event: EventManifest, peer: PeerId, admission: bytes | None) -> str | None:
    """Return why `peer` may not contribute ("banned" or "not_invited"), or None if it may.

    `admission` is the signature by the event's admission key over the event and the peer id; an open event needs none.
    """
    if peer in event.admission.banned:
        return "banned"
    if event.admission.key is None or (isinstance(event, AmendedEvent) and peer in event.admitted):
        return None
    if admission is None or not verify(event.admission.key, admission, admission_bytes(event.digest, peer)):
        return "not_invited"
    return None


def admit(event: EventManifest, peer: PeerId, token: bytes) -> bytes:
    """Return the admission signature of `peer`, given the 32-byte token of an invite."""
    return Identity(token).sign(admission_bytes(event.digest, peer))
