"""A bundle as a source: its checksum first, then where in the file everything is. The receiver verifies the rest."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from ...protocol.amendments import SignedAmendment
from ...protocol.bundle import BundledBlob
from ...protocol.canonical import DOCUMENT_LIMITS
from ...protocol.commit import Certificate, Commit, decode_commit
from ...protocol.exchange import SnapshotOffer
from ...protocol.manifest import SignedManifest
from ...protocol.messages import Blob
from ...protocol.record import sha256
from ...protocol.refs import MAIN
from ...protocol.remote import Target, check_published
from ..errors import UserError, disk_errors
from ..history.bundle_file import BundleFile, open_bundle
from ..store import BlobMismatch
from ..units import short
from .place import Place
from .source import Gone, Missing


class BundleSource:
    """What a bundle's header and its commits publish. Its main branch is its last commit that has a certificate."""

    def __init__(self, bundle: BundleFile, place: Place) -> None:
        """Read where everything is. Raises UserError."""
        bundle.check()
        self._bundle = bundle
        self._blobs = place.store.blobs
        self._commits: dict[bytes, tuple[bytes, int, int]] = {}  # parent, where in the file, size
        self._reading = asyncio.Lock()
        self._records: dict[str, bytes] = {}
        self._refs: dict[str, Target] = {}
        header = bundle.header()
        with bundle.errors():
            if SignedManifest.decode_file(header.manifest).open().digest != place.event.digest:
                raise UserError(f"{bundle.path} is a bundle of another event", "choose the event with --event")
            for at, data, proof in bundle.commit_places(header):
                commit = decode_commit(data)
                self._commits[commit.digest] = (commit.base, at, len(data))
                if proof:
                    self._refs[MAIN] = Target(blob=Blob(sha256=commit.digest, size=len(data)), record=False)
        self._amendments = header.amendments
        for ref in header.refs:
            self._point(ref.name, ref.commit, ref.tag)
        self._places: dict[bytes, tuple[int, BundledBlob]] = {}
        self._states: dict[bytes, Blob] = {}
        for digest, (at, blob) in bundle.places(header):
            self._places[digest] = at, blob
            if blob.state_of is not None:
                self._states[blob.state_of] = Blob(sha256=digest, size=blob.size)

    @classmethod
    @contextmanager
    def open(cls, path: Path, place: Place) -> Iterator[BundleSource]:
        """Open the bundle at `path`. Raises UserError."""
        with open_bundle(path) as bundle:
            yield cls(bundle, place)

    def _point(self, name: str, commit: bytes, tag: bytes | None) -> None:
        try:
            check_published(name)
        except ValueError:
            return  # another node's branches, as its `remotes/…`
        if tag is not None:
            self._records[name] = tag
            self._refs[name] = Target(blob=Blob(sha256=sha256(tag), size=len(tag)), record=True)
        elif commit in self._commits:
            self._refs[name] = Target(blob=Blob(sha256=commit, size=self._commits[commit][2]), record=False)

    async def refs(self) -> dict[str, Target]:
        """See Source."""
        return dict(sorted(self._refs.items()))

    async def record(self, name: str, target: Target) -> bytes:
        """See Source."""
        return self._records[name]

    async def commits(self, tip: bytes, have: Collection[bytes]) -> AsyncGenerator[tuple[Commit, Certificate | None]]:
        """See Source."""
        path: list[bytes] = []
        at = tip
        while at not in have and at in self._commits:
            path.append(at)
            at = self._commits[at][0]
        for digest in reversed(path):
            async with self._reading:
                data, proof = self._bundle.commit_at(self._commits[digest][1])
            yield decode_commit(data), Certificate.decode(proof, DOCUMENT_LIMITS) if proof else None

    async def amendments(self) -> AsyncGenerator[SignedAmendment]:
        """See Source."""
        for data in self._amendments:
            yield SignedAmendment.read(data)

    async def state(self, tip: bytes) -> SnapshotOffer | None:
        """See Source."""
        at = tip
        while at not in self._states and at in self._commits:
            at = self._commits[at][0]
        return SnapshotOffer(commit=at, blob=self._states[at]) if at in self._states else None

    async def blob(self, blob: Blob) -> None:
        """See Source."""
        found = self._places.get(blob.sha256)
        if found is None or found[1].size != blob.size:
            raise Gone(f"blob {short(blob.sha256)} is not in {self._bundle.path}", "fetch from where it came from")
        async with self._reading:
            await asyncio.to_thread(self._copy, *found)

    def _copy(self, at: int, blob: BundledBlob) -> None:
        partial = self._blobs.partial_path(blob.sha256).with_suffix(f".{os.getpid()}")
        try:
            with disk_errors(partial):
                self._bundle.save_from(at, blob, partial)
            self._blobs.put_file(partial, blob.sha256)
        except BlobMismatch as error:
            raise Missing(f"blob {short(blob.sha256)} in {self._bundle.path} is damaged") from error
        finally:
            partial.unlink(missing_ok=True)
