"""Commits that no round made, but somebody who signs for them: which kind is checked how."""

from __future__ import annotations

from .certificates import verify_certificate
from .commit import Commit
from .errors import RemoteProtocolError
from .event import EventManifest
from .proposal import verify_merge_commit
from .revert import Lookup, verify_revert_commit


def verify_statement(event: EventManifest, parent: Commit, commit: Commit, lookup: Lookup) -> None:
    """Raise RemoteProtocolError unless `commit`, which has a statement, is valid after `parent`.

    `lookup` returns an ancestor of it. The state hash is left to a replay.
    """
    _verify_parents_proof(event, parent, commit, lookup)
    if commit.method == "revert":
        verify_revert_commit(event, parent, commit, lookup)
    else:
        verify_merge_commit(event, parent, commit)


def _verify_parents_proof(event: EventManifest, parent: Commit, commit: Commit, lookup: Lookup) -> None:
    """No signature covers the certificate that stands beside a statement, and stores keep it as the parent's."""
    proof = commit.parent_certificate
    if proof is None:
        return
    if not parent.parents or proof.commit != parent.digest:
        raise RemoteProtocolError("bad_certificate", "for another commit")
    verify_certificate(event, lookup(parent.base), proof)
