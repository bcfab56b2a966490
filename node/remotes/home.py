"""A home on this machine as a source."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncGenerator, Collection

from ...protocol.amendments import SignedAmendment
from ...protocol.commit import Certificate, Commit
from ...protocol.exchange import SnapshotOffer
from ...protocol.messages import Blob
from ...protocol.remote import Target
from ..errors import disk_errors
from ..failpoints import failpoint
from ..history.findings import Broken
from ..history.graph import StoreGraph
from ..history.reading import read_commit
from ..modules.index import Index
from ..store import BlobMismatch, Blobs, Store
from ..units import short
from .published import published, record
from .source import Gone, Missing, path_after, state_before


class HomeSource:
    """Reads the store `store`, whose packages are `packages`, for a receiver whose blobs are `into`."""

    def __init__(self, store: Store, packages: Index, into: Blobs) -> None:
        self._store = store
        self._packages = packages
        self._into = into
        self._graph = StoreGraph(store)

    async def refs(self) -> dict[str, Target]:
        """See Source."""
        return published(self._store, self._packages)

    async def record(self, name: str, target: Target) -> bytes:
        """See Source."""
        found = record(self._store, self._packages, name)
        if found is None:
            raise Missing(f"{name} is gone meanwhile", "repeat")
        return found

    async def commits(self, tip: bytes, have: Collection[bytes]) -> AsyncGenerator[tuple[Commit, Certificate | None]]:
        """See Source."""
        for digest in path_after(self._graph, tip, have):
            try:
                commit = read_commit(self._store, digest)
            except Broken as broken:
                raise Missing(broken.finding.message, "see `collab-node fsck` there") from broken
            yield commit, self._store.certificate(digest)

    async def amendments(self) -> AsyncGenerator[SignedAmendment]:
        """See Source."""
        for signed in self._store.amendments.all():
            yield signed

    async def state(self, tip: bytes) -> SnapshotOffer | None:
        """See Source."""
        return state_before(self._store, self._graph, tip)

    async def blob(self, blob: Blob) -> None:
        """See Source."""
        size = self._store.blobs.size(blob.sha256)
        if size is None:
            raise Gone(f"blob {short(blob.sha256)} is missing", "see `collab-node fsck` there")
        if size != blob.size:
            problem = f"blob {short(blob.sha256)} has {size} bytes where {blob.size} are signed for"
            raise Missing(problem, "see `collab-node fsck` there")
        await asyncio.to_thread(self._copy, blob.sha256)

    def _copy(self, digest: bytes) -> None:
        partial = self._into.partial_path(digest).with_suffix(f".{os.getpid()}")  # not where a daemon's download grows
        try:
            with disk_errors(partial):
                shutil.copyfile(self._store.blobs.path(digest), partial)
            failpoint("remote-partial")
            self._into.put_file(partial, digest)
        except BlobMismatch as error:
            raise Missing(f"blob {short(digest)} there is damaged", "see `collab-node fsck` there") from error
        finally:
            partial.unlink(missing_ok=True)
