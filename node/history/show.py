"""One commit in full: who contributed with what weight, who was left out and why, and who made it final."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...protocol.commit import Certificate, Commit, open_attestation
from ...protocol.errors import RemoteProtocolError
from ...protocol.messages import Signed
from ...protocol.revert import open_revert
from ...protocol.verdict import read_verdict
from ..errors import UserError
from ..gates.verdicts import Held
from ..proposals.merged import merged_fields
from ..store import Store
from ..units import peer_text, printable, short
from .log import log_fields, ref_labels
from .moves import Move
from .revisions import FSCK


def signers_of(certificate: Certificate) -> list[str]:
    """Return who signed, in order; an envelope that does not open is left out."""
    found = []
    for envelope in certificate.precommits:
        try:
            found.append(open_attestation(envelope)[0].signer)
        except RemoteProtocolError:
            continue
    return found


def certificate_fields(store: Store, commit: Commit) -> dict[str, Any] | None:
    """Return what makes a commit final, as plain values; None for a root, and where no certificate is here."""
    certificate = store.certificate(commit.digest)
    if certificate is None:
        return None
    return {"epoch": certificate.epoch, "view": certificate.view, "signers": signers_of(certificate)}


def departed_of(commit: Commit) -> list[str]:
    """Return who said goodbye."""
    return [Signed.decode(envelope).signer for envelope in commit.departed]


def carried_of(commit: Commit) -> list[Held]:
    """Return the verdicts in a commit. Raises UserError if one of them is none."""
    try:
        return [Held(*read_verdict(envelope)) for envelope in commit.verdicts]
    except RemoteProtocolError as error:
        raise UserError(f"the commit {short(commit.digest)} carries what is no verdict ({error})", FSCK) from error


def revert_fields(commit: Commit) -> dict[str, Any] | None:
    """Return what a revert took out, and who signed it, as plain values; None for any other commit.

    `peers` empty: all of the commits' contributions. Raises UserError if the statement in it is none.
    """
    if commit.method != "revert":
        return None
    try:
        signer, revert = open_revert(commit)
    except RemoteProtocolError as error:
        raise UserError(f"the revert {short(commit.digest)} has no valid statement ({error})", FSCK) from error
    taken = [digest.hex() for digest in revert.commits]
    return {"signer": signer, "commits": taken, "peers": list(revert.peers), "message": revert.message}


def revert_lines(commit: Commit) -> list[str]:
    """Return what `show` says of a revert; nothing for any other commit."""
    fields = revert_fields(commit)
    if fields is None:
        return []
    whose = f"of {', '.join(map(peer_text, fields['peers']))} " if fields["peers"] else ""
    lines = [f"revert contributions {whose}in {', '.join(map(short, fields['commits']))}", f"signed by {fields['signer']}"]
    return [*lines, "", *printable(fields["message"]).splitlines()] if fields["message"] else lines


def show_fields(
    store: Store, commit: Commit, moves: Sequence[Move] | None, parts: Sequence[Sequence[Move]] = ()
) -> dict[str, Any]:
    """Return all of a commit as plain values; `moves` None: its payloads are not here.

    `parts` are what each proposal moved that it merged, in its order.
    """
    merged = merged_fields(commit) if commit.method == "proposals" else None
    for proposal, part in zip(merged["proposals"] if merged else (), parts, strict=False):
        proposal["tensors"] = [move.to_dict() for move in part]
    return {
        **log_fields(commit, ref_labels(store)),
        "revert": revert_fields(commit),
        "departed": departed_of(commit),
        "carried": [each.fields() | {"candidate": each.verdict.candidate.hex()} for each in carried_of(commit)],
        "certificate": certificate_fields(store, commit),
        "tensors": None if moves is None else [move.to_dict() for move in moves],
        **({"merged": merged} if merged is not None else {}),
    }
