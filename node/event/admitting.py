"""What this node shows to be let into an event by invitation, and what to say where that is not enough."""

from __future__ import annotations

import time

from ...protocol.admission import EXPIRED, REVOKED, USED_UP, Admitted, admit, issuers, refusal
from ...protocol.event import EventManifest
from ...protocol.identity import Identity, PeerId
from ...protocol.invite import Invite
from ...protocol.tokens import Terms, TokenProof
from ..errors import NothingToDo

_ASK = "ask the coordinator for a new one"


def admission_of(event: EventManifest, peer: PeerId, token: bytes | None, terms: Terms | None) -> bytes | TokenProof | None:
    """Return what `peer` shows, None in an open event; `token` is a seed, the admission key's where it has no terms.

    Raises NothingToDo.
    """
    if peer in event.admission.banned:
        raise NothingToDo("this event does not admit this node's key", "ask the coordinator")
    if event.admission.key is None:
        return None
    if token is None or not _is_good(event, Identity(token), terms):
        raise NothingToDo("this event is by invitation, and the invite has no valid token", "ask the coordinator for one")
    return admit(event, peer, token, terms)


def _is_good(event: EventManifest, token: Identity, terms: Terms | None) -> bool:
    if terms is None:
        return token.peer_id == event.admission.key
    return terms.are_by(issuers(event), event.digest, token.public_key)


def check_expiry(invite: Invite, now: float) -> None:
    """Raise NothingToDo for an invite that, by our own clock (`now` in Unix seconds), lets nobody in any more."""
    if invite.terms is not None and 0 < invite.terms.expires <= now:
        raise _expired(invite.terms.expires, " by this machine's clock")


def check_admission(
    event: EventManifest, peer: PeerId, admission: bytes | TokenProof | None, admitted: Admitted, now: float
) -> None:
    """Raise NothingToDo if this node's contributions would be refused, by the history or by our own clock."""
    reason = refusal(event, peer, admission, admitted)
    if not isinstance(admission, TokenProof):
        return
    terms = admission.terms
    if reason == REVOKED:
        raise NothingToDo("this invite was revoked by the coordinator", _ASK)
    if reason == USED_UP:
        places = "1 node, which is" if terms.uses == 1 else f"{terms.uses} nodes, which are"
        raise NothingToDo(f"this invite was for {places} in already", _ASK)
    if reason == EXPIRED:
        raise _expired(terms.expires)
    if peer not in admitted.by(admission.token) and 0 < terms.expires <= now:
        raise _expired(terms.expires, " by this machine's clock")


def _expired(expires: int, clock: str = "") -> NothingToDo:
    day = time.strftime("%Y-%m-%d %H:%M", time.localtime(expires))
    return NothingToDo(f"this invite expired on {day}{clock}", _ASK)
