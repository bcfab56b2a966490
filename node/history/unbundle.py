"""`unbundle`: takes over what a bundle proves. The file is believed in nothing.

First its structure and checksum, then in one transaction every commit's rules, signatures and certificate, every blob's hash,
every tag's signature; only then the head moves. Whatever is wrong, the history stays what it was; blobs that came before it are
garbage.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ...protocol.amendments import SignedAmendment
from ...protocol.bundle import BundledBlob, BundledRef, BundleHeader
from ...protocol.canonical import DOCUMENT_LIMITS
from ...protocol.commit import Certificate, Commit, decode_commit
from ...protocol.errors import LocalProtocolError, RemoteProtocolError
from ...protocol.event import EventManifest
from ...protocol.history import History
from ...protocol.manifest import SignedManifest
from ...protocol.merging import verify_commit
from ...protocol.record import sha256
from ...protocol.refs import MAIN, RefError, SignedTag, check_name, tag_name
from ...protocol.statement import verify_statement
from .. import keys
from ..errors import UserError, disk_errors
from ..event.create import publish, staging
from ..failpoints import failpoint
from ..files import atomic_write
from ..home import Home
from ..rounds.catch_up import restore_history
from ..store import BlobMismatch, Store, file_digest
from ..units import short
from .bundle_file import BundleFile, open_bundle
from .progress import Progress, silent
from .reading import blobs_of_commit


@dataclass
class Unbundled:
    """What was new in a bundle. `kept` are refs that it has elsewhere than here: ours stayed."""

    event: bytes
    round: int = 0
    moved: bool = False
    commits: int = 0
    payloads: int = 0
    snapshots: int = 0
    refs: int = 0
    kept: list[str] = field(default_factory=list)

    def fields(self) -> dict[str, Any]:
        """Return it as plain values, digests in hex."""
        return {**asdict(self), "event": self.event.hex()}


def unbundle(home: Home, path: Path, progress: Progress = silent) -> Unbundled:
    """Take over the bundle at `path` into its event's store, which is made if need be. Raises UserError."""
    with open_bundle(path) as bundle, disk_errors(home.path):
        bundle.check()
        home.ensure_space(path.stat().st_size)
        with bundle.errors():
            manifest = SignedManifest.decode_file(bundle.header().manifest)
            event = manifest.open()
        with home.lock():
            folder = home.event(event.digest)
            if folder.exists():
                with Store.open(folder.store_path) as store:
                    return _Taking(event, store, bundle, progress).run()
            keys.load_or_create(home.identity_path)
            with staging(home) as new:
                new.save_manifest(manifest)
                with Store.open(new.store_path) as store:
                    taken = _Taking(event, store, bundle, progress).run()
                publish(new, folder)
            return taken


class _Taking:
    """One bundle on its way into one store."""

    def __init__(self, event: EventManifest, store: Store, bundle: BundleFile, progress: Progress) -> None:
        self._event = event
        self._store = store
        self._bundle = bundle
        self._progress = progress
        self._taken = Unbundled(event.digest)
        self._wanted: set[tuple[bytes, int]] = set()

    def run(self) -> Unbundled:
        """Take over all of it, or nothing. Raises UserError."""
        self._mend()
        history = self._history()
        before = history.head.digest
        header = self._bundle.header()
        self._check_needs(header)
        with self._store.transaction():
            with self._bundle.errors():
                self._take_amendments(history, header)
            for at, (data, proof) in enumerate(self._bundle.commits(header), 1):
                with self._bundle.errors():
                    self._take_commit(history, decode_commit(data), proof)
                self._progress("commits", at, header.commits)
            failpoint("unbundle-commits")
            for at, blob in enumerate(self._bundle.blobs(header), 1):
                self._take_blob(blob)
                self._progress("payloads and snapshots", at, header.blobs)
            for ref in header.refs:
                with self._bundle.errors():
                    self._take_ref(ref)
            self._store.set_head(history.head.digest)
            failpoint("unbundle-transaction")
        self._taken.round, self._taken.moved = history.head.round, history.head.digest != before
        return self._taken

    def _mend(self) -> None:
        """Write the bytes of commits that the index has and whose blob is missing or damaged."""
        for data, _ in self._bundle.commits(self._bundle.header()):
            digest = sha256(data)
            if self._store.has_commit(digest) and self._store.blobs.read(digest) != data:
                atomic_write(self._store.blobs.path(digest), data)

    def _history(self) -> History:
        try:
            return restore_history(self._event, self._store)
        except (RemoteProtocolError, KeyError) as error:
            hint = "`collab-node fsck` says what to do; or move the event's folder away, and unbundle again"
            raise UserError(f"the history that is here is damaged: {error}", hint) from error

    def _check_needs(self, header: BundleHeader) -> None:
        missing = [digest for digest in header.needs if not self._store.has_commit(digest)]
        if missing:
            raise UserError(
                f"{self._bundle.path} builds on commit {short(missing[0])}, which is not here",
                "unbundle a history that has it first, or start the node, so that it catches up",
            )

    def _take_amendments(self, history: History, header: BundleHeader) -> None:
        """Take over what the coordinators decided. Raises RemoteProtocolError."""
        for data in header.amendments:
            signed = SignedAmendment.read(data)
            if history.amendments.add(signed):
                self._store.amendments.add(signed)

    def _take_commit(self, history: History, commit: Commit, proof: bytes) -> None:
        """Verify a commit and keep it. Raises RemoteProtocolError."""
        if not commit.parents:
            raise RemoteProtocolError("malformed", "a root, which follows from the event")
        if not self._store.has_commit(commit.base):
            raise RemoteProtocolError("unknown_parent", short(commit.base))
        new = not self._store.has_commit(commit.digest)
        if commit.statement is not None:
            verify_statement(history.amendments, self._store.commit(commit.base), commit, self._store.commit)
            self._store.add_commit(commit)
        else:
            self._take_final(history, commit, proof)
        self._taken.commits += new
        self._wanted.update((blob.sha256, blob.size) for blob in blobs_of_commit(commit))

    def _take_final(self, history: History, commit: Commit, proof: bytes) -> None:
        """Verify a commit of a round, and that it is final. Raises RemoteProtocolError."""
        if not proof:
            raise RemoteProtocolError("bad_certificate", f"commit {short(commit.digest)} has none")
        try:
            ancestry = history.ancestry(commit.base)
        except LocalProtocolError as error:
            raise RemoteProtocolError("unknown_parent", short(commit.base)) from error
        certificate = Certificate.decode(proof, DOCUMENT_LIMITS)
        if commit.digest not in history:
            verify_commit(self._event, ancestry, commit)
        history.add(commit, certificate)
        self._store.add_commit(commit, certificate)

    def _take_blob(self, blob: BundledBlob) -> None:
        """Keep a blob that a commit names, or a commit's state. Raises UserError."""
        self._check_wanted(blob)
        blobs = self._store.blobs
        if blobs.size(blob.sha256) == blob.size and file_digest(blobs.path(blob.sha256)) == blob.sha256:
            self._bundle.skip(blob)
        else:
            self._save(blob)
        if blob.state_of is not None and self._store.snapshot_of(blob.state_of) is None:
            self._store.record_snapshot(blob.state_of, blob.sha256)

    def _check_wanted(self, blob: BundledBlob) -> None:
        with self._bundle.errors():
            if blob.state_of is None and (blob.sha256, blob.size) not in self._wanted:
                raise RemoteProtocolError("malformed", f"blob {short(blob.sha256)}, which no commit of it names")
            if blob.state_of is not None and not self._store.has_commit(blob.state_of):
                raise RemoteProtocolError("malformed", f"the state of commit {short(blob.state_of)}, which it has not")

    def _save(self, blob: BundledBlob) -> None:
        path = self._store.blobs.partial_path(blob.sha256)
        try:
            self._bundle.save(blob, path)
            failpoint("unbundle-blob")
            with self._bundle.errors():
                try:
                    self._store.blobs.put_file(path, blob.sha256)
                except BlobMismatch as error:
                    raise RemoteProtocolError("malformed", str(error)) from error
        finally:
            path.unlink(missing_ok=True)
        if blob.state_of is None:
            self._taken.payloads += 1
        else:
            self._taken.snapshots += 1

    def _take_ref(self, ref: BundledRef) -> None:
        """Set a ref that is not here yet. Raises RemoteProtocolError."""
        try:
            check_name(ref.name)
        except RefError as error:
            raise RemoteProtocolError("malformed", str(error)) from error
        if ref.name == MAIN or not self._store.has_commit(ref.commit):
            raise RemoteProtocolError("malformed", f"a ref {ref.name[:60]} that it has no commit for")
        tag = self._tag(ref)
        now = self._store.refs.get(ref.name)
        if now is None:
            self._store.refs.update(ref.name, ref.commit, None, tag)
            self._taken.refs += 1
        elif now != ref.commit:
            self._taken.kept.append(ref.name)

    def _tag(self, ref: BundledRef) -> SignedTag | None:
        if ref.tag is None:
            return None
        signed = SignedTag.decode(ref.tag)
        tag = signed.open()
        if (tag.event, tag.commit, tag_name(tag.name)) != (self._event.digest, ref.commit, ref.name):
            raise RemoteProtocolError("malformed", f"the annotation of {ref.name[:60]} is of another tag")
        return signed
