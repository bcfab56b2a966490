"""Reading a history's commits without believing the store: bytes against their digests, commits against the rules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...protocol.amendments import Amendments
from ...protocol.ancestry import Ancestry, root_ancestry
from ...protocol.certificates import verify_certificate
from ...protocol.commit import Commit, decode_commit, root_commit
from ...protocol.errors import LocalProtocolError, RemoteProtocolError
from ...protocol.event import EventManifest
from ...protocol.merging import verify_commit
from ...protocol.messages import Blob
from ...protocol.proposal import open_merge
from ...protocol.record import sha256
from ...protocol.statement import verify_statement
from ..store import Store, behind
from ..units import bytes_text, counted, rounds_text, short
from .findings import Broken, Finding

_UNBUNDLE = "`collab-node unbundle` a history that has it"
GET_COMMIT = _UNBUNDLE + ", or move the event's folder away and join again"
FETCH = "start the node, so that it fetches it, or " + _UNBUNDLE
CATCH_UP = "start the node: it fetches them, or a snapshot that spares them"
REPLACE = "move the file {} away, then start the node, so that it fetches it again, or " + _UNBUNDLE


def read_commit(store: Store, digest: bytes) -> Commit:
    """Return a commit whose bytes have this digest. Raises Broken."""
    data = store.blobs.read(digest)
    if data is None:
        raise Broken(Finding("commit", f"commit {short(digest)} is missing", GET_COMMIT, commit=digest))
    if sha256(data) != digest:
        text = f"commit {short(digest)} is damaged: its {len(data)} bytes have another hash"
        raise Broken(Finding("commit", text, GET_COMMIT, commit=digest, blob=digest))
    try:
        return decode_commit(data)
    except RemoteProtocolError as error:
        text = f"commit {short(digest)} is none: {error}"
        raise Broken(Finding("commit", text, GET_COMMIT, commit=digest)) from error


def path_to(event: EventManifest, store: Store, digest: bytes) -> list[bytes]:
    """Return the digests from the event's root to `digest`, oldest first, by the commits' own bytes. Raises Broken."""
    root, path, at = root_commit(event), [digest], digest
    while at != root.digest:
        commit = read_commit(store, at)
        if not commit.parents:
            text = f"commit {short(digest)} does not descend from the event's root {short(root.digest)}"
            raise Broken(Finding("commit", text, GET_COMMIT, commit=at))
        at = commit.base
        path.append(at)
    read_commit(store, at)
    return path[::-1]


def checked_commits(event: EventManifest, store: Store, path: Sequence[bytes]) -> Iterator[Commit]:
    """Yield the commits of a path from the root, each after its rules, signatures and certificate were checked. Raises Broken."""
    ancestry: Ancestry | None = None
    amendments = store.amendments.of(event)
    for digest in path:
        commit = read_commit(store, digest)
        if ancestry is not None:
            _check(event, amendments, store, ancestry, commit)
        yield commit
        ancestry = root_ancestry(event, amendments) if ancestry is None else ancestry.after(event, commit)


def _check(event: EventManifest, amendments: Amendments, store: Store, ancestry: Ancestry, commit: Commit) -> None:
    where = f"commit {short(commit.digest)} of round {commit.round}"
    try:
        if commit.statement is not None:
            verify_statement(amendments, ancestry.base, commit, store.commit)
            return
        verify_commit(event, ancestry, commit)
    except (RemoteProtocolError, LocalProtocolError) as error:
        raise _broken("commit", f"{where} breaks the rules: {error}", commit) from error
    try:
        certificate = store.certificate(commit.digest)
        if certificate is None:
            raise _broken("certificate", f"nothing proves that {where} is final: its certificate is missing", commit)
        if certificate.commit != commit.digest:
            raise _broken("certificate", f"the certificate of {where} is of another commit", commit)
        verify_certificate(amendments.event_on(ancestry.base), ancestry.base, certificate)
    except RemoteProtocolError as error:
        raise _broken("certificate", f"the certificate of {where} is wrong: {error}", commit) from error


def _broken(kind: str, text: str, commit: Commit) -> Broken:
    return Broken(Finding(kind, text, GET_COMMIT, round=commit.round, commit=commit.digest))


def blobs_of_commit(commit: Commit) -> list[Blob]:
    """Return the payloads that a commit merged, and the statistics that came with them."""
    if commit.method == "proposals":
        return [blob for _, proposal in open_merge(commit)[1].opened() for blob in proposal.blobs()]
    found = [blob for _, claim in commit.contributions() for blob in (claim.payload, claim.fisher)]
    return [blob for blob in found if blob is not None]


class ReplayStart:
    """Where on a path a replay to its end can begin: the first state that is here and after which no payload is lost.

    Tell it the commits in order. `position` counts them from 0, None if there is no such state; `lost` is the last payload that
    is missing, with its commit. `pending` are those that the node has yet to fetch for this replay.
    """

    def __init__(self, event: EventManifest, store: Store) -> None:
        self.position: int | None = None
        self.lost: tuple[Blob, Commit] | None = None
        self.pending: list[tuple[Blob, Commit]] = []
        self._first_pending = behind.first_pending(store)
        self._seeded = event.start.seed is not None
        self._store = store
        self._seen = 0

    def saw(self, commit: Commit) -> None:
        """Take note of the path's next commit."""
        for blob in blobs_of_commit(commit):
            if self._store.blobs.has(blob.sha256):
                continue
            if self._is_pending(commit):
                self.pending.append((blob, commit))
            else:
                self.position, self.lost = None, (blob, commit)
        if (self.position is None or self.pending) and self._has_state(commit):
            self.lost = self.pending[-1] if self.pending else self.lost
            self.position, self.pending = self._seen, []
        self._seen += 1

    @property
    def awaits_state(self) -> bool:
        """Whether the node has yet to fetch the first weights, or a snapshot."""
        return self.position is None and self.lost is None and self._first_pending == 0

    def unfetched(self) -> Finding | None:
        """Return what the node has yet to fetch, as a note; None if it has everything."""
        what = ["the first weights"] if self.awaits_state else []
        if self.pending:
            rounds = [commit.round for _, commit in self.pending]
            size = bytes_text(sum(blob.size for blob, _ in self.pending))
            what.append(f"{counted(len(rounds), 'payload')} of {rounds_text(rounds[0], rounds[-1])}, {size} in all")
        return Finding("unfetched", f"not fetched yet: {' and '.join(what)}", CATCH_UP, severity="note") if what else None

    def _is_pending(self, commit: Commit) -> bool:
        first = self._first_pending
        return first is not None and commit.round >= first and self._store.on_chain(commit.digest)

    def _has_state(self, commit: Commit) -> bool:
        snapshot = self._store.snapshot_of(commit.digest)
        return (self._seeded and not commit.parents) or (snapshot is not None and self._store.blobs.has(snapshot))
