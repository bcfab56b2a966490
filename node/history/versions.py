"""Two versions of the weights side by side: replayed from the nearest snapshots into files, and compared."""

from __future__ import annotations

import tempfile
from pathlib import Path

from ...protocol.commit import Commit
from ...protocol.event import EventManifest
from ..store import Store
from .diff import TensorDiff


async def diff_commits(event: EventManifest, store: Store, older: Commit, newer: Commit) -> list[TensorDiff]:
    """Return what differs between the weights after two commits, the tensor that changed most first. Raises UserError."""
    from ..export import export_versions
    from .compare import diff_files

    with tempfile.TemporaryDirectory(prefix="collab-diff-") as folder:
        files = {commit.digest: Path(folder) / commit.digest.hex() for commit in (older, newer)}
        # The lower round first: if the other descends from it, the replay just goes on.
        ordered = sorted({older.digest: older, newer.digest: newer}.values(), key=lambda commit: commit.round)
        await export_versions(event, store, [(commit, files[commit.digest]) for commit in ordered])
        return diff_files(files[older.digest], files[newer.digest])
