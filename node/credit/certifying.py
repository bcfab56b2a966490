"""Certificates of contribution: issued from this node's history, and checked against it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from ...protocol.credit_certificate import MAX_TEXT, CreditCertificate, Statement
from ...protocol.errors import RemoteProtocolError
from ...protocol.identity import Identity, PeerId
from ..errors import UserError
from ..home import EventFolder, Home
from ..reading import open_store
from .leaderboard import count_credits, read_names


@dataclass(frozen=True)
class Checked:
    """A certificate whose signature is good: what it says, who signed it, and whether this home's history says the same.

    `role` is the issuer's; `history` is one line, and `agrees` None where this home does not know the event that far.
    """

    statement: Statement
    role: str
    history: str
    agrees: bool | None


def issue(folder: EventFolder, identity: Identity, peer: PeerId) -> CreditCertificate:
    """Return a certificate of what `peer` gave up to the newest commit. Raises UserError if that is nothing."""
    event = folder.manifest().open()
    with open_store(folder) as store:
        head = store.head_commit()
        credit = count_credits(event, store, head).of(peer)
        if not credit.gave:
            hint = "`collab-node credits` lists who is in it"
            raise UserError(f"the history up to round {head.round} has nothing of {peer}", hint)
        statement = Statement(
            event=event.digest, title=event.name, commit=head.digest, round=head.round, name=read_names(store).get(peer, ""),
            credit=credit, issuer=identity.peer_id, time=int(time.time()),
        )  # fmt: skip
    return CreditCertificate.seal(identity, statement)


def check(file: Path, home: Home) -> Checked:
    """Check a certificate's signature and text, and compare it with the history in `home`. Raises UserError if it is no good."""
    try:
        with file.open("rb") as source:
            text = source.read(MAX_TEXT + 1).decode("utf-8", errors="replace")
        statement = CreditCertificate.parse(text).open()
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}") from error
    except RemoteProtocolError as error:
        raise UserError(f"{file} is no valid certificate: {error}", "ask for it again, and keep it as it is") from error
    folder = home.event(statement.event)
    role = "the contributor" if statement.issuer == statement.credit.peer else "another peer"
    if not folder.exists():
        return Checked(statement, role, "this home does not have the event: the numbers are the issuer's word", None)
    if folder.manifest().open().coordinator == statement.issuer:
        role = "the event's coordinator"
    return Checked(statement, role, *_compare(folder, statement))


def _compare(folder: EventFolder, statement: Statement) -> tuple[str, bool | None]:
    with open_store(folder) as store:
        if store.head() is None or not store.on_chain(statement.commit):
            return f"this home's history does not have the commit of round {statement.round}", None
        event = folder.manifest().open()
        credit = count_credits(event, store, store.commit(statement.commit)).of(statement.credit.peer)
    said = statement.credit
    # What a certificate does not mention, it may have been issued too early to know of.
    wrong = [name for name in sorted(said.model_fields_set) if getattr(credit, name) != getattr(said, name)]
    if wrong:
        differences = (f"{name} {getattr(credit, name)} and not {getattr(said, name)}" for name in wrong)
        return "this home's history says otherwise: " + ", ".join(differences), False
    return "the same as this home's history says", True
