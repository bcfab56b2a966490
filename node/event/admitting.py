"""What this node shows to be let into an event by invitation, and what to say where that is not enough."""

from __future__ import annotations

import time

from ...protocol.admission import EXPIRED, REVOKED, USED_UP, Admitted, admit, issuers, needs_no_invite, refusal
from ...protocol.event import EventManifest
from ...protocol.identity import Identity, PeerId
from ...protocol.invite import Invite
from ...protocol.tokens import Terms, TokenProof
from ..errors import NothingToDo

_ASK = "ask the coordinator for a new one"


def admission_of(
    created: EventManifest, in_force: EventManifest, peer: PeerId, token: bytes | None, terms: Terms | None
) -> bytes | TokenProof | None:
    """Return what `peer` shows, None where it needs nothing; `token` is a seed, the admission key's where it has no terms.

    `in_force` is the event with its amendments. Raises NothingToDo.
    """
    if peer in in_force.admission.banned:
        raise banned_error()
    if needs_no_invite(in_force, peer):
        return None
    if token is None or not _is_good(created, in_force, Identity(token), terms):
        raise _not_invited()
    return admit(created, peer, token, terms)


def _is_good(created: EventManifest, in_force: EventManifest, token: Identity, terms: Terms | None) -> bool:
    if terms is None:
        return token.peer_id == created.admission.key
    # A former coordinator's word still counts for who is in: the history says whether we are.
    return terms.are_by({*issuers(created), *issuers(in_force)}, created.digest, token.public_key)


def check_expiry(invite: Invite, now: float) -> None:
    """Raise NothingToDo for an invite that, by our own clock (`now` in Unix seconds), lets nobody in any more."""
    if invite.terms is not None and 0 < invite.terms.expires <= now:
        raise _expired(invite.terms.expires, by_our_clock=True)


def check_admission(
    event: EventManifest, peer: PeerId, admission: bytes | TokenProof | None, admitted: Admitted, now: float
) -> None:
    """Raise NothingToDo if this node's contributions would be refused, by the history or by our own clock."""
    reason = refusal(event, peer, admission, admitted)
    if reason == "not_invited":
        raise _not_invited()
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
        raise _expired(terms.expires, by_our_clock=True)


def banned_error(reason: str = "") -> NothingToDo:
    """Return what a banned node's owner is told."""
    why = f": {reason}" if reason else ""
    return NothingToDo(f"the coordinators banned this node's key{why}", "ask them; its history stays readable here")


def _not_invited() -> NothingToDo:
    return NothingToDo("this event is by invitation, and the invite has no valid token", _ASK)


def _expired(expires: int, *, by_our_clock: bool = False) -> NothingToDo:
    day = time.strftime("%Y-%m-%d %H:%M", time.localtime(expires))
    if by_our_clock:
        return NothingToDo(f"this invite expired on {day} by this machine's clock", f"{_ASK}, or set the clock if it is wrong")
    return NothingToDo(f"this invite expired on {day}", _ASK)
