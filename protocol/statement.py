"""Commits that no round made, but somebody who signs for them: which kind is checked how."""

from __future__ import annotations

from .commit import Commit
from .event import EventManifest
from .proposal import verify_merge_commit
from .revert import Lookup, verify_revert_commit
from .stated import verify_signers


def verify_statement(event: EventManifest, parent: Commit, commit: Commit, lookup: Lookup) -> None:
    """Raise RemoteProtocolError unless `commit`, which has a statement, is valid after `parent`.

    `lookup` returns an ancestor of it. The state hash is left to a replay.
    """
    verify_signers(event, commit)
    verify_unsigned(event, parent, commit, lookup)


def verify_unsigned(event: EventManifest, parent: Commit, commit: Commit, lookup: Lookup) -> None:
    """As `verify_statement`, of a draft that others have to sign yet: who signed is left out."""
    if commit.method == "revert":
        verify_revert_commit(event, parent, commit, lookup)
    else:
        verify_merge_commit(event, parent, commit)
