"""Signatures of several people under one message: whoever wrote it signs the envelope, the others sign the same words."""

from __future__ import annotations

from collections.abc import Iterable

from .errors import RemoteProtocolError
from .event import EventManifest
from .identity import Identity, PeerId
from .messages import Signed
from .record import Record, Signature

MAX_COSIGNERS = 63


class Cosignature(Record):
    """One more signature under what a statement says."""

    peer: PeerId
    signature: Signature


def cosign(identity: Identity, statement: Signed) -> Cosignature:
    """Return the signature of `identity` under what the statement says."""
    return Cosignature(peer=identity.peer_id, signature=statement.repeated_by(identity).signature)


def signers_of(statement: Signed, cosigners: Iterable[Cosignature]) -> list[PeerId]:
    """Return everybody who signed, the author first. Raises RemoteProtocolError: "bad_signature", "signed_twice"."""
    statement.check_signature()
    found = [statement.signer]
    for each in cosigners:
        if each.peer in found:
            raise RemoteProtocolError("signed_twice", each.peer)
        statement.model_copy(update={"signer": each.peer, "signature": each.signature}).check_signature()
        found.append(each.peer)
    return found


def signatures_missing(event: EventManifest, signers: list[PeerId]) -> int:
    """Return how many maintainers have to sign yet. Raises RemoteProtocolError for somebody who is none, or one too many."""
    rule = event.deciders()
    for peer in signers:
        if peer not in rule.keys:
            raise RemoteProtocolError("not_a_maintainer" if event.maintainers else "not_the_coordinator", peer)
    if len(signers) > rule.threshold:
        raise RemoteProtocolError("too_many_signatures", f"{len(signers)} where {rule.threshold} decide")
    return rule.threshold - len(signers)
