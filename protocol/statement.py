"""Commits that no round made, but somebody who signs for them: which kind is checked how."""

from __future__ import annotations

from .amendments.chain import Amendments
from .certificates import verify_certificate
from .commit import Commit
from .errors import RemoteProtocolError
from .proposal import verify_merge_commit
from .revert import Lookup, verify_revert_commit
from .stated import verify_signers


def verify_statement(amendments: Amendments, parent: Commit, commit: Commit, lookup: Lookup) -> None:
    """Raise RemoteProtocolError unless `commit`, which has a statement, is valid after `parent`.

    `amendments` has those that the commits name. `lookup` returns an ancestor of it. The state hash is left to a replay.
    """
    verify_signers(amendments.event_on(parent), commit)
    verify_unsigned(amendments, parent, commit, lookup)


def verify_unsigned(amendments: Amendments, parent: Commit, commit: Commit, lookup: Lookup) -> None:
    """As `verify_statement`, of a draft that others have to sign yet: who signed is left out."""
    event = amendments.event_on(parent)
    if parent.event != event.digest:
        raise RemoteProtocolError("wrong_event")
    _verify_parents_proof(amendments, parent, commit, lookup)
    if commit.method == "revert":
        verify_revert_commit(amendments.rules(lookup), parent, commit, lookup)
    else:
        verify_merge_commit(event, parent, commit)


def _verify_parents_proof(amendments: Amendments, parent: Commit, commit: Commit, lookup: Lookup) -> None:
    """No signature covers the certificate that stands beside a statement, and stores keep it as the parent's."""
    proof = commit.parent_certificate
    if proof is None:
        return
    if not parent.parents or proof.commit != parent.digest:
        raise RemoteProtocolError("bad_certificate", "for another commit")
    before = lookup(parent.base)
    verify_certificate(amendments.event_on(before), before, proof)
