"""`gc`: deletes what nothing reaches. Only whoever holds the home's lock may: so no node runs, and no second gc.

Rows go first, in one transaction that also finds out what is reachable, so that a branch or tag that is made meanwhile either
keeps its commits or is refused. Then the files, in a transaction of their own: commands that may run beside a node put a blob and
the row that names it into one transaction, so none is seen between the two. Killed in between, gc leaves files that no row names:
the next one removes them.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

from ...protocol.errors import RemoteProtocolError
from ...protocol.event import EventManifest
from ..errors import UserError, disk_errors
from ..failpoints import failpoint
from ..store import Blobs, Store
from ..store.index import Index
from .files import blob_files, leftovers
from .reach import Reach, open_contributions, reach


@dataclass
class Garbage:
    """What was (or would be) deleted."""

    commits: int = 0
    contributions: int = 0
    blobs: int = 0
    files: int = 0
    bytes: int = 0

    def fields(self) -> dict[str, int]:
        """Return it as plain values."""
        return asdict(self)


def gc(event: EventManifest, path: Path, *, dry_run: bool = False) -> Garbage:
    """Delete what nothing reaches in the store at `path`, or only count it. Raises UserError."""
    index, blobs = Index(path / "index.sqlite", read_only=dry_run), Blobs(path)
    with Store(index, blobs) as store:
        found = Garbage()
        if dry_run:
            kept = _reached(event, store, index)
            _rows(event, store, index, kept, found, dry_run=True)
        else:
            with store.transaction():
                kept = _reached(event, store, index)
                _rows(event, store, index, kept, found, dry_run=False)
                failpoint("gc-transaction")
            failpoint("gc-rows")
        with disk_errors(path), nullcontext() if dry_run else store.transaction():
            _files(path, blobs, _reached(event, store, index), found, dry_run=dry_run)
    return found


def _reached(event: EventManifest, store: Store, index: Index) -> Reach:
    if store.head() is None:
        raise UserError(f"{index.path} holds no history yet")
    try:
        return reach(event, store, index)
    except (KeyError, RemoteProtocolError) as error:
        problem = f"the history is damaged ({error}), so it cannot be said what it needs; nothing was deleted"
        raise UserError(problem, "`collab-node fsck` says what to do") from error


def _rows(event: EventManifest, store: Store, index: Index, kept: Reach, found: Garbage, *, dry_run: bool) -> None:
    """Delete the rows of commits that nothing reaches, and of contributions that nobody waits for."""
    lost = [digest for digest in store.links() if digest not in kept.commits]
    wanted = open_contributions(event, store, index)
    closed = [bytes(digest) for (digest,) in index.rows("SELECT digest FROM contributions") if bytes(digest) not in wanted]
    found.commits, found.contributions = len(lost), len(closed)
    if dry_run:
        return
    for digest in closed:
        index.write("DELETE FROM contributions WHERE digest = ?", (digest,))
    for digest in lost:
        for table in ("snapshots", "certificates", "merged", "carried"):
            index.write(f'DELETE FROM {table} WHERE "commit" = ?', (digest,))
        index.write("DELETE FROM commits WHERE digest = ?", (digest,))


def _files(path: Path, blobs: Blobs, kept: Reach, found: Garbage, *, dry_run: bool) -> None:
    for file, digest in blob_files(path):
        if digest is not None and digest not in kept.blobs:
            found.blobs += 1
            found.bytes += file.stat().st_size
            if not dry_run:
                blobs.delete(digest)
                failpoint("gc-blob")
    for file in leftovers(path):
        found.files += 1
        found.bytes += file.stat().st_size
        if not dry_run:
            file.unlink(missing_ok=True)
