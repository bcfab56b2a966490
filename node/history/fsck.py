"""`fsck`: is everything here that the index speaks of, and is it what it says? Nothing is replayed, nothing is changed.

Findings are errors, where something is lost or wrong, or notes, where something is merely of no use any more. Every check goes on
after a finding, so that one run tells all of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from ...protocol.canonical import DOCUMENT_LIMITS
from ...protocol.commit import Certificate, Commit, decode_commit, root_commit
from ...protocol.errors import RemoteProtocolError
from ...protocol.event import EventManifest
from ...protocol.messages import Contribution, Signed
from ...protocol.verdict import read_verdict
from ..errors import UserError
from ..store import Blobs, Store, file_digest
from ..store.index import Index
from ..units import bytes_text, short
from .files import blob_files, leftovers
from .findings import Finding
from .progress import Progress, silent
from .reach import reach
from .reading import FETCH, GET_COMMIT, REPLACE, ReplayStart, blobs_of_commit

GC = "`collab-node gc` removes it"
JOIN_AGAIN = "move the event's folder away, and join again or `collab-node unbundle` a history"


def fsck(event: EventManifest, path: Path, progress: Progress = silent) -> list[Finding]:
    """Return everything that is wrong with the store at `path`, and what is of no use in it."""
    files = dict(blob_files(path))
    damaged: dict[bytes, Path] = {}
    for at, (file, digest) in enumerate(files.items(), 1):
        progress("blobs", at, len(files))
        if digest is not None and file_digest(file) != digest:
            damaged[digest] = file
    found: list[Finding] = []
    try:
        index = Index(path / "index.sqlite", read_only=True)
        with Store(index, Blobs(path)) as store:
            digests = [digest for digest in files.values() if digest is not None]
            found += _Checks(event, store, index, digests, damaged).run()
    except UserError as error:
        found.append(Finding("index", error.message, error.hint or JOIN_AGAIN))
    told = {finding.blob for finding in found}
    found += [_damaged(digest, file) for digest, file in damaged.items() if digest not in told]
    return [*found, *_of_no_use(path, [file for file, digest in files.items() if digest is None])]


def _damaged(digest: bytes, file: Path) -> Finding:
    text = f"blob {short(digest)} is damaged: its {file.stat().st_size} bytes have another hash"
    return Finding("blob", text, REPLACE.format(file), blob=digest)


def _of_no_use(path: Path, strays: list[Path]) -> Iterator[Finding]:
    for file in strays:
        yield Finding("stray", f"{file} is no blob", "remove it, if it is not yours", severity="note")
    for file in leftovers(path):
        what = "an unfinished download" if file.parent.name == "partial" else "what a killed process left half-written"
        yield Finding("leftover", f"{file} is {what}, of {bytes_text(file.stat().st_size)}", GC, severity="note")


class _Checks:
    """What the index says, against itself and against the blobs, some of which are known to be damaged."""

    def __init__(
        self, event: EventManifest, store: Store, index: Index, blobs: list[bytes], damaged: dict[bytes, Path]
    ) -> None:
        self._event = event
        self._store = store
        self._index = index
        self._blobs = blobs
        self._damaged = damaged
        self._commits: dict[bytes, Commit] = {}

    def run(self) -> list[Finding]:
        """Return what every check finds."""
        checks = (
            self._database, self._rows_of_commits, self._chain, self._certificates, self._tags, self._snapshots,
            self._payloads, self._contributions, self._verdicts, self._garbage,
        )  # fmt: skip
        return [finding for check in checks for finding in check()]

    def _blob(self, kind: str, digest: bytes, text: str, commit: bytes, round: int | None = None) -> Iterator[Finding]:
        """Yield what is wrong with a blob that is needed. `text` says what it is."""
        if digest in self._damaged:
            text, hint = f"{text} is damaged: its bytes have another hash", REPLACE.format(self._damaged[digest])
        elif not self._store.blobs.has(digest):
            text, hint = f"{text} is missing", GET_COMMIT if kind == "commit" else FETCH
        else:
            return
        yield Finding(kind, text, hint, commit=commit, round=round, blob=digest)

    def _database(self) -> Iterator[Finding]:
        for (answer,) in self._index.rows("PRAGMA integrity_check"):
            if answer != "ok":
                yield Finding("index", f"{self._index.path}: {answer}", JOIN_AGAIN)
        broken = Counter(table for table, *_ in self._index.rows("PRAGMA foreign_key_check"))
        for table, count in broken.items():
            yield Finding("index", f"rows of {table} that name commits which are not here: {count}", JOIN_AGAIN)

    def _rows_of_commits(self) -> Iterator[Finding]:
        for digest, (round, parents) in self._store.links().items():
            name = f"commit {short(digest)} of round {round}"
            wrong = list(self._blob("commit", digest, name, digest, round))
            yield from wrong or self._commit(digest, name, round, parents)

    def _commit(self, digest: bytes, name: str, round: int, parents: tuple[bytes, ...]) -> Iterator[Finding]:
        try:
            commit = decode_commit(self._store.blobs.read(digest) or b"")
        except RemoteProtocolError as error:
            yield Finding("commit", f"{name} is none: {error}", JOIN_AGAIN, commit=digest, round=round)
            return
        self._commits[digest] = commit
        if (commit.round, commit.parents) != (round, parents):
            text = f"the index is wrong about the round or the parents of {name}"
            yield Finding("index", text, JOIN_AGAIN, commit=digest, round=round)
        if commit.event != self._event.digest:
            yield Finding("commit", f"{name} is of another event", JOIN_AGAIN, commit=digest, round=round)
        for parent in commit.parents:
            if not self._store.has_commit(parent):
                text = f"{name} has a parent that is not here, {short(parent)}"
                yield Finding("commit", text, GET_COMMIT, commit=digest, round=round)
        for envelope in commit.verdicts:
            if problem := _verdict_problem(envelope):
                text = f"{name} carries a verdict that is none: {problem}"
                yield Finding("commit", text, GET_COMMIT, commit=digest, round=round)

    def _chain(self) -> Iterator[Finding]:
        chain = self._store.digests()[::-1]
        if not chain or chain[-1] != self._store.head():
            yield Finding("chain", "the chain does not end at the head", JOIN_AGAIN)
        if chain and chain[0] != root_commit(self._event).digest:
            yield Finding("chain", "the chain does not begin at the event's root", JOIN_AGAIN, commit=chain[0])
        for round, digest in enumerate(chain):
            commit = self._commits.get(digest)
            below = (chain[round - 1],) if round else ()
            if commit is not None and (commit.round, commit.parents[:1]) != (round, below):
                text = f"the chain breaks at round {round}: commit {short(digest)} does not follow the one before"
                yield Finding("chain", text, JOIN_AGAIN, commit=digest, round=round)

    def _certificates(self) -> Iterator[Finding]:
        for round, digest in enumerate(self._store.digests()[::-1]):
            problem = self._certificate_problem(digest) if round else ""
            if problem:
                text = f"the certificate of commit {short(digest)} of round {round} {problem}"
                yield Finding("certificate", text, GET_COMMIT, commit=digest, round=round)

    def _certificate_problem(self, digest: bytes) -> str:
        body = self._index.one('SELECT body FROM certificates WHERE "commit" = ?', (digest,))
        if body is None:
            return "is missing"
        try:
            return "" if Certificate.decode(body, DOCUMENT_LIMITS).commit == digest else "is of another commit"
        except RemoteProtocolError as error:
            return f"cannot be read: {error}"

    def _tags(self) -> Iterator[Finding]:
        for name in self._store.refs.all("tags/"):
            try:
                annotation = self._store.refs.tag(name)
                if annotation is not None:
                    annotation.open()
            except RemoteProtocolError as error:
                text = f"the annotation of {name} is not what its tagger signed: {error}"
                yield Finding("tag", text, f"delete it: `collab-node tag -d {name.removeprefix('tags/')}`")

    def _snapshots(self) -> Iterator[Finding]:
        for commit, blob, size in self._index.rows('SELECT "commit", blob, size FROM snapshots'):
            wrong = list(self._blob("snapshot", blob, f"snapshot {short(blob)}", commit))
            yield from wrong
            if not wrong and self._store.blobs.size(blob) != size:
                text = f"the index is wrong about the size of snapshot {short(blob)}"
                yield Finding("index", text, JOIN_AGAIN, commit=commit, blob=blob)

    def _payloads(self) -> Iterator[Finding]:
        """Payloads after the first state that a replay can start from are needed; those before it may have been pruned."""
        chain = [self._commits[digest] for digest in self._store.digests()[::-1] if digest in self._commits]
        start = ReplayStart(self._event, self._store)
        for commit in chain:
            start.saw(commit)
        pending = {blob.sha256 for blob, _ in start.pending}
        for commit in chain:
            for blob in blobs_of_commit(commit):
                if blob.sha256 not in pending and (start.position is None or self._store.blobs.has(blob.sha256)):
                    text = f"payload {short(blob.sha256)} of round {commit.round}"
                    yield from self._blob("payload", blob.sha256, text, commit.digest, commit.round)
        if (unfetched := start.unfetched()) is not None:
            yield unfetched
        if start.position is None and start.lost is None and not start.awaits_state:
            yield Finding("snapshot", "there is neither a seed nor a snapshot to rebuild the weights from", FETCH)
        elif start.position is not None and start.lost is not None:
            text = f"versions before round {chain[start.position].round} cannot be rebuilt: not all of their payloads are here"
            yield Finding("pruned", text, "`collab-node unbundle` a history that has them", severity="note")

    def _contributions(self) -> Iterator[Finding]:
        for digest, envelope in self._index.rows("SELECT digest, envelope FROM contributions"):
            try:
                Signed.decode(envelope).open_as(Contribution)
            except RemoteProtocolError as error:
                yield Finding("contribution", f"contribution {short(digest)} cannot be read: {error}", JOIN_AGAIN)

    def _verdicts(self) -> Iterator[Finding]:
        for digest, candidate, envelope in self._index.rows("SELECT digest, candidate, envelope FROM verdicts"):
            if problem := _verdict_problem(envelope, (digest, candidate)):
                yield Finding("verdict", f"verdict {short(digest)} is none: {problem}", JOIN_AGAIN)
        for candidate, digest, carrier in self._index.rows('SELECT candidate, digest, "commit" FROM carried'):
            commit = self._commits.get(carrier)
            if commit is not None and all(_verdict_problem(envelope, (digest, candidate)) for envelope in commit.verdicts):
                text = f"the index says that commit {short(carrier)} carries verdict {short(digest)}, which it does not"
                yield Finding("index", text, JOIN_AGAIN, commit=carrier)

    def _garbage(self) -> Iterator[Finding]:
        try:
            kept = reach(self._event, self._store, self._index)
        except (KeyError, RemoteProtocolError):
            return  # what is damaged was reported; what it needs is not known
        if commits := [digest for digest in self._store.links() if digest not in kept.commits]:
            text = f"{len(commits)} commits are reached by no ref"
            yield Finding("unreachable", text, GC, severity="note")
        if blobs := [digest for digest in self._blobs if digest not in kept.blobs]:
            size = bytes_text(sum(self._store.blobs.size(digest) or 0 for digest in blobs))
            yield Finding("unreachable", f"{len(blobs)} blobs, {size} in all, are needed by nothing", GC, severity="note")


def _verdict_problem(envelope: bytes, row: tuple[bytes, bytes] | None = None) -> str:
    """Return what is wrong with a verdict; with a `row` (its digest, and the version that it is about) that it is another one."""
    try:
        signed, verdict = read_verdict(envelope)
    except RemoteProtocolError as error:
        return str(error)
    return "" if row in (None, (signed.digest, verdict.candidate)) else "it is another one"
