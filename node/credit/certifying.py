"""Certificates of contribution: issued from this node's history, signed by as many as decide, and checked against it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from ...protocol.credit_certificate import MAX_TEXT, CreditCertificate, Statement
from ...protocol.errors import RemoteProtocolError
from ...protocol.identity import Identity, PeerId
from ..errors import UserError
from ..home import EventFolder, Home
from ..peer_ids import peer_meant
from ..reading import open_store
from .certifiers import Certifiers
from .leaderboard import count_credits, read_names


@dataclass(frozen=True)
class Checked:
    """A certificate whose signatures are good: what it says, who signed it, and whether this home's history says the same.

    `role` is the signers'; `history` is one line, and `agrees` None where this home does not know the event that far.
    """

    statement: Statement
    signers: tuple[PeerId, ...]
    role: str
    history: str
    agrees: bool | None


def issue(folder: EventFolder, identity: Identity, peer: str = "") -> tuple[CreditCertificate, int]:
    """Return a certificate of what `peer` gave up to the newest commit, and how many more make it the event's own word.

    `peer` is its id, the end of it, or its name; empty: `identity`. Raises UserError if it gave nothing.
    """
    event = folder.manifest().open()
    with open_store(folder) as store:
        head = store.head_commit()
        book, names = count_credits(event, store, head), read_names(store)
        peer = peer_meant(peer, (credit.peer for credit in book.ranking()), names) if peer else identity.peer_id
        credit = book.of(peer)
        if not credit.gave:
            hint = "`collab-node credits` lists who is in it"
            raise UserError(f"the history up to round {head.round} has nothing of {peer}", hint)
        statement = Statement(
            event=event.digest, title=event.name, commit=head.digest, round=head.round, name=names.get(peer, ""),
            credit=credit, issuer=identity.peer_id, time=int(time.time()),
        )  # fmt: skip
        missing = Certifiers.of(folder, store, head.digest).missing((identity.peer_id,))
    return CreditCertificate.seal(identity, statement), missing


def sign(file: Path, home: Home, identity: Identity) -> tuple[CreditCertificate, int]:
    """Return the certificate in a file with one more signature, and how many it lacks yet.

    Raises UserError unless `identity` signs for the event, and this home's history says the same.
    """
    certificate = _read(file)
    statement = certificate.open()
    folder = home.event(statement.event)
    if not folder.exists():
        raise UserError("this home does not have the event that the certificate is about", "sign in a home that has")
    if identity.peer_id in certificate.signers:
        raise UserError("this node's key has signed it already", "send it to another one who signs for the event")
    with open_store(folder) as store:
        certifiers = Certifiers.of(folder, store, statement.commit)
    if certifiers.missing(certificate.signers) == certifiers.missing((*certificate.signers, identity.peer_id)):
        raise UserError("this node's key does not sign for the event, or enough have signed", f"{certifiers.words} sign")
    history, agrees = _compare(folder, statement)
    if not agrees:
        raise UserError(f"not signed: {history}", "sign what your own history says; let the node catch up")
    certificate = certificate.signed_by(identity)
    return certificate, certifiers.missing(certificate.signers)


def check(file: Path, home: Home) -> Checked:
    """Check a certificate's signatures and text, and compare it with the history in `home`. Raises UserError if it is no good."""
    certificate = _read(file)
    statement, signers = certificate.open(), certificate.signers
    folder = home.event(statement.event)
    own = statement.issuer == statement.credit.peer
    if not folder.exists():
        role = "the contributor" if own else "another peer"
        return Checked(statement, signers, role, "this home does not have the event: the numbers are the issuer's word", None)
    with open_store(folder) as store:
        role = Certifiers.of(folder, store, statement.commit).role(signers, own=own)
    return Checked(statement, signers, role, *_compare(folder, statement))


def _read(file: Path) -> CreditCertificate:
    try:
        with file.open("rb") as source:
            text = source.read(MAX_TEXT + 1).decode("utf-8", errors="replace")
        return CreditCertificate.parse(text)
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}") from error
    except RemoteProtocolError as error:
        raise UserError(f"{file} is no valid certificate: {error}", "ask for it again, and keep it as it is") from error


def _compare(folder: EventFolder, statement: Statement) -> tuple[str, bool | None]:
    with open_store(folder) as store:
        if store.head() is None or not store.on_chain(statement.commit):
            return f"this home's history does not have the commit of round {statement.round}", None
        event = folder.manifest().open()
        credit = count_credits(event, store, store.commit(statement.commit)).of(statement.credit.peer)
    said = statement.credit
    # What a certificate does not mention, it may have been issued too early to know of.
    wrong = [name for name in sorted(said.model_fields_set) if getattr(credit, name) != getattr(said, name)]
    if wrong == ["last"] and said.last == credit.last - 1:
        wrong = []  # earlier versions let the check of one merge come after the contribution to the next
    if wrong:
        differences = (f"{name} {getattr(credit, name)} and not {getattr(said, name)}" for name in wrong)
        return "this home's history says otherwise: " + ", ".join(differences), False
    return "the same as this home's history says", True
