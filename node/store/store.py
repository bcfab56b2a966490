"""The store of one event: commits and their chain, snapshots, contributions and votes, over blobs and an index.

A blob is written before the row that names it, so the index never names what is not there; a blob that no row names is what a
killed process left, and harmless. Methods block for a few milliseconds at most, except where they have an async twin.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ...protocol.canonical import DOCUMENT_LIMITS
from ...protocol.commit import Certificate, Commit, decode_commit
from ...protocol.errors import LocalProtocolError
from ...protocol.messages import Contribution, Signed
from ..errors import UserError, disk_errors
from ..files import make_folder
from .amendments import KnownAmendments
from .blobs import Blobs
from .cache import RecentlyUsed
from .index import Index
from .proposals import Proposals
from .refs import Refs
from .verdicts import Verdicts

_CACHED_COMMITS = 256
_HEAD = "head"


@dataclass(frozen=True)
class BlobRef:
    """A blob by its digest and its size in bytes."""

    digest: bytes
    size: int


@dataclass(frozen=True)
class Snapshot:
    """The whole state after `commit`, in a blob."""

    commit: bytes
    round: int
    blob: BlobRef


class Store:
    """Open one with `Store.open`; only a process that holds the home's lock may open it for writing."""

    def __init__(self, index: Index, blobs: Blobs) -> None:
        self._index = index
        self.blobs = blobs
        self.refs = Refs(index)
        self.proposals = Proposals(index, self.commit)
        self.amendments = KnownAmendments(index)
        self.verdicts = Verdicts(index, self.commit)
        self._commits: RecentlyUsed[bytes, Commit] = RecentlyUsed(_CACHED_COMMITS)

    @classmethod
    def open(cls, path: Path, *, read_only: bool = False) -> Store:
        """Open the store in the folder `path`, made if need be. Raises UserError."""
        blobs = Blobs(path)
        if read_only:
            cls._require(path)
        else:
            with disk_errors(path):
                make_folder(path)
            blobs.prepare()
        return cls(Index(path / "index.sqlite", read_only=read_only), blobs)

    @classmethod
    def open_beside(cls, path: Path) -> Store:
        """Open a store that is there, to change its refs beside a daemon that may be running: SQLite orders the two.

        Raises UserError.
        """
        cls._require(path)
        return cls(Index(path / "index.sqlite"), Blobs(path))

    @staticmethod
    def _require(path: Path) -> None:
        if not (path / "index.sqlite").is_file():
            raise UserError(f"{path} holds no history yet")

    def close(self) -> None:
        """Close it. Harmless if it is closed."""
        self._index.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make everything that the block writes to the index durable together, or none of it."""
        with self._index.transaction():
            yield

    # Commits

    def add_commit(self, commit: Commit, certificate: Certificate | None = None) -> bytes:
        """Keep a commit, and its certificate where there is one; return its digest. The parent need not be here."""
        digest = self.blobs.put_bytes(commit.encode())
        parent = commit.base if commit.parents else None
        with self.transaction():
            self._index.write("INSERT OR IGNORE INTO commits VALUES (?, ?, ?)", (digest, commit.round, parent))
            for merged in commit.parents[1:]:
                self._index.write("INSERT OR IGNORE INTO merged VALUES (?, ?)", (digest, merged))
            for proven, proof in ((parent, commit.parent_certificate), (digest, certificate)):
                if proven is not None and proof is not None:
                    self._keep_certificate(proven, proof)
            self.verdicts.carry(commit)
        self._commits.put(digest, commit)
        return digest

    def _keep_certificate(self, commit: bytes, proof: Certificate) -> None:
        known = self.certificate(commit)
        if known is None or proof.epoch < known.epoch:  # the fork choice goes by the lowest epoch
            self._index.write("INSERT OR REPLACE INTO certificates VALUES (?, ?)", (commit, proof.encode()))

    def has_commit(self, digest: bytes) -> bool:
        """Say whether the commit is here."""
        return self._index.one("SELECT 1 FROM commits WHERE digest = ?", (digest,)) is not None

    def commit(self, digest: bytes) -> Commit:
        """Return a commit. Raises KeyError if it is not here."""
        return self._commits.get(digest, self._load_commit)

    def _load_commit(self, digest: bytes) -> Commit:
        data = self.blobs.read(digest) if self.has_commit(digest) else None
        if data is None:
            raise KeyError(digest.hex())
        return decode_commit(data)

    def with_prefix(self, prefix: str) -> list[bytes]:
        """Return the commits whose digest in lower-case hex starts with `prefix`, in order."""
        ends = [bytes.fromhex(prefix.ljust(64, digit)) for digit in "0f"]
        rows = self._index.rows("SELECT digest FROM commits WHERE digest BETWEEN ? AND ? ORDER BY digest", ends)
        return [bytes(digest) for (digest,) in rows]

    def links(self) -> dict[bytes, tuple[int, tuple[bytes, ...]]]:
        """Return every commit's round and parents, from the index alone; a parent need not be here."""
        query = 'SELECT digest, round, commits.parent, merged.parent FROM commits LEFT JOIN merged ON digest = "commit"'
        return {
            bytes(digest): (round, tuple(bytes(parent) for parent in parents if parent is not None))
            for digest, round, *parents in self._index.rows(query)
        }

    def certificate(self, digest: bytes) -> Certificate | None:
        """Return the proof that a commit is final, None if it is not here. The root needs none."""
        body = self._index.one('SELECT body FROM certificates WHERE "commit" = ?', (digest,))
        return None if body is None else Certificate.decode(body, DOCUMENT_LIMITS)

    # The chain

    def head(self) -> bytes | None:
        """Return the digest of the newest commit of the chain, None in an empty store."""
        digest = self._index.one('SELECT "commit" FROM refs WHERE name = ?', (_HEAD,))
        return None if digest is None else bytes(digest)

    def head_commit(self) -> Commit:
        """Return the newest commit of the chain. Raises UserError in an empty store."""
        head = self.head()
        if head is None:
            raise UserError(f"{self._index.path} holds no history yet")
        return self.commit(head)

    def set_head(self, digest: bytes) -> None:
        """Make the chain end at this commit, whose ancestors are all here. Raises LocalProtocolError if one is missing."""
        with self.transaction():
            branch = self._branch(digest)
            self._index.write("DELETE FROM chain WHERE round >= ?", (branch[-1][0] if branch else self._round(digest) + 1,))
            for round, commit in branch:
                self._index.write("INSERT INTO chain VALUES (?, ?)", (round, commit))
            self._index.write("INSERT OR REPLACE INTO refs VALUES (?, ?)", (_HEAD, digest))

    def _branch(self, digest: bytes) -> list[tuple[int, bytes]]:
        """Return (round, digest) from `digest` back to where it meets the chain, or to the root, newest first."""
        branch: list[tuple[int, bytes]] = []
        at: bytes | None = digest
        while at is not None and not self.on_chain(at):
            branch.append((self._round(at), at))
            at = self._index.one("SELECT parent FROM commits WHERE digest = ?", (at,))
        return branch

    def _round(self, digest: bytes) -> int:
        round = self._index.one("SELECT round FROM commits WHERE digest = ?", (digest,))
        if round is None:
            raise LocalProtocolError(f"the store lacks commit {digest.hex()[:16]}")
        return int(round)

    def on_chain(self, digest: bytes) -> bool:
        """Say whether the head is this commit or comes after it."""
        return self._index.one('SELECT 1 FROM chain WHERE "commit" = ?', (digest,)) is not None

    def meets_chain(self, digest: bytes) -> int | None:
        """Return the round of the newest commit of the chain that is this commit or comes before it; None if none is known."""
        at: bytes | None = digest
        while at is not None:
            round = self._index.one('SELECT round FROM chain WHERE "commit" = ?', (at,))
            if round is not None:
                return int(round)
            at = self._index.one("SELECT parent FROM commits WHERE digest = ?", (at,))
        return None

    def at_round(self, round: int) -> bytes | None:
        """Return the chain's commit of a round, None if it has none."""
        digest = self._index.one('SELECT "commit" FROM chain WHERE round = ?', (round,))
        return None if digest is None else bytes(digest)

    def digests(self, limit: int = -1, before: bytes | None = None) -> list[bytes]:
        """Return the chain's digests, newest first: at most `limit` (-1: all), older than the commit `before`."""
        top = (1 << 62) if before is None else self._round(before)
        rows = self._index.rows('SELECT "commit" FROM chain WHERE round < ? ORDER BY round DESC LIMIT ?', (top, limit))
        return [bytes(digest) for (digest,) in rows]

    def digests_after(self, digest: bytes, limit: int = -1) -> list[bytes]:
        """Return the chain's digests after a commit of the chain, oldest first, at most `limit` (-1: all)."""
        query = 'SELECT "commit" FROM chain WHERE round > ? ORDER BY round LIMIT ?'
        return [bytes(later) for (later,) in self._index.rows(query, (self._round(digest), limit))]

    def chain(self, limit: int = -1, before: bytes | None = None) -> list[Commit]:
        """Return the chain's commits, newest first: at most `limit` (-1: all), older than the commit `before`."""
        return [self.commit(digest) for digest in self.digests(limit, before)]

    # Snapshots

    def record_snapshot(self, commit: bytes, blob: bytes) -> None:
        """Note that the blob, which is here, is the whole state after the commit."""
        size = self.blobs.size(blob)
        if size is None:
            raise LocalProtocolError(f"the store lacks the snapshot {blob.hex()[:16]}")
        self._index.write("INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?)", (commit, blob, size))

    def snapshots(self, limit: int = -1) -> list[Snapshot]:
        """Return the chain's snapshots, newest first."""
        return self._snapshots(1 << 62, limit)

    def latest_snapshot(self, not_after_round: int | None = None) -> Snapshot | None:
        """Return the chain's newest snapshot, of `not_after_round` or earlier; None if there is none."""
        top = (1 << 62) if not_after_round is None else not_after_round
        return next(iter(self._snapshots(top, 1)), None)

    def snapshot_of(self, commit: bytes) -> bytes | None:
        """Return the digest of the blob with the state after a commit, on the chain or not; None if there is none."""
        blob = self._index.one('SELECT blob FROM snapshots WHERE "commit" = ?', (commit,))
        return None if blob is None else bytes(blob)

    def states(self) -> dict[bytes, BlobRef]:
        """Return all snapshots by their commits, on the chain or not."""
        rows = self._index.rows('SELECT "commit", blob, size FROM snapshots')
        return {bytes(commit): BlobRef(bytes(blob), size) for commit, blob, size in rows}

    def _snapshots(self, top: int, limit: int) -> list[Snapshot]:
        query = (
            'SELECT "commit", round, blob, size FROM snapshots JOIN chain USING ("commit") '
            "WHERE round <= ? ORDER BY round DESC LIMIT ?"
        )
        rows = self._index.rows(query, (top, limit))
        return [Snapshot(bytes(commit), round, BlobRef(bytes(blob), size)) for commit, round, blob, size in rows]

    # Contributions

    def add_contribution(self, signed: Signed, contribution: Contribution) -> None:
        """Keep a contribution that was seen and checked; its payload is a blob of its own."""
        row = (signed.digest, contribution.base, contribution.round, signed.encode())
        self._index.write("INSERT OR IGNORE INTO contributions VALUES (?, ?, ?, ?)", row)

    def contributions(self, base: bytes) -> list[Signed]:
        """Return the contributions seen on a base, in the order of their digests."""
        rows = self._index.rows("SELECT envelope FROM contributions WHERE base = ? ORDER BY digest", (base,))
        return [Signed.decode(envelope) for (envelope,) in rows]

    def forget(self, round: int) -> list[Signed]:
        """Drop contributions and votes of `round` and earlier, and snapshots before it; return those contributions."""
        with self.transaction():
            rows = self._index.rows("SELECT envelope FROM contributions WHERE round <= ?", (round,))
            self._index.write("DELETE FROM contributions WHERE round <= ?", (round,))
            self._index.write("DELETE FROM voting WHERE round <= ?", (round,))
            older = "SELECT digest FROM commits WHERE round < ?"
            self._index.write(f'DELETE FROM snapshots WHERE "commit" IN ({older})', (round,))
        return [Signed.decode(envelope) for (envelope,) in rows]

    # Votes, counters, notes

    def save_voting(self, base: bytes, state: bytes) -> None:
        """Keep what this node voted on a base. It is durable when this returns: only then may the vote be sent."""
        round = self._index.one("SELECT round FROM commits WHERE digest = ?", (base,)) or 0
        self._index.write("INSERT OR REPLACE INTO voting VALUES (?, ?, ?)", (base, round, state))

    def load_voting(self, base: bytes) -> bytes | None:
        """Return what `save_voting` kept last for the base, None if nothing."""
        state = self._index.one("SELECT state FROM voting WHERE base = ?", (base,))
        return None if state is None else bytes(state)

    def count(self, name: str, amount: int = 1) -> int:
        """Add to a counter that outlives the process, and return its value."""
        with self.transaction():
            added = "INSERT INTO counters VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value"
            self._index.write(added, (name, amount))
            return self.counter(name)

    def counter(self, name: str) -> int:
        """Return a counter's value; 0 if nothing was counted."""
        return int(self._index.one("SELECT value FROM counters WHERE name = ?", (name,)) or 0)

    def put_note(self, name: str, value: bytes) -> None:
        """Keep a few bytes under a name, in place of what was there."""
        self._index.write("INSERT OR REPLACE INTO notes VALUES (?, ?)", (name, value))

    def drop_note(self, name: str) -> bool:
        """Forget the bytes under a name, and say whether there were any."""
        return self._index.write("DELETE FROM notes WHERE name = ?", (name,)) > 0

    def notes(self, prefix: str) -> dict[str, bytes]:
        """Return the notes whose names start with `prefix`, sorted by the rest of the name, which is the key."""
        rows = self._index.rows("SELECT name, value FROM notes WHERE substr(name, 1, ?) = ? ORDER BY name", (len(prefix), prefix))
        return {str(name)[len(prefix) :]: bytes(value) for name, value in rows}

    def note(self, name: str) -> bytes | None:
        """Return the bytes under a name, None if there are none."""
        value = self._index.one("SELECT value FROM notes WHERE name = ?", (name,))
        return None if value is None else bytes(value)
