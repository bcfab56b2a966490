"""Commits that no round made, but somebody who signs for them: which kind is checked how."""

from __future__ import annotations

from .commit import Commit
from .event import EventManifest
from .proposal import verify_merge_commit
from .revert import Lookup, verify_revert_commit


def verify_statement(event: EventManifest, parent: Commit, commit: Commit, lookup: Lookup) -> None:
    """Raise RemoteProtocolError unless `commit`, which has a statement, is valid after `parent`.

    `lookup` returns an ancestor of it. The state hash is left to a replay.
    """
    if commit.method == "revert":
        verify_revert_commit(event, parent, commit, lookup)
    else:
        verify_merge_commit(event, parent, commit)
