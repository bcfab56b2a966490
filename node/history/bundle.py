"""`bundle`: writes a history, or a part of it, into one file (see `protocol.bundle`), in pieces, whole or not at all."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from ...protocol.bundle import HEADER_BYTES, LENGTH_BYTES, MAGIC, MAX_REFS, BundledBlob, BundledRef, BundleHeader
from ...protocol.commit import Commit
from ...protocol.event import EventManifest
from ...protocol.manifest import SignedManifest
from ...protocol.refs import MAIN, history
from ..errors import UserError
from ..failpoints import failpoint
from ..files import replacing
from ..store import Store
from ..units import short
from .findings import Broken
from .graph import StoreGraph
from .progress import Progress, silent
from .reading import ReplayStart, blobs_of_commit, read_commit

_CHUNK = 1 << 20


@dataclass
class Bundled:
    """What a bundle holds."""

    commits: int = 0
    payloads: int = 0
    snapshots: int = 0
    size: int = 0
    needs: tuple[bytes, ...] = ()

    def fields(self) -> dict[str, Any]:
        """Return it as plain values, digests in hex."""
        return {**asdict(self), "needs": [digest.hex() for digest in self.needs]}


def write_bundle(
    manifest: SignedManifest, store: Store, out: Path, chosen: Sequence[bytes] | None = None, progress: Progress = silent,
    *, snapshots: bool = True,
) -> Bundled:  # fmt: skip
    """Write the commits `chosen` (default: all that refs reach) and what they are made of to `out`.

    `snapshots` False leaves out those that a replay can do without. Raises UserError.
    """
    plan = _Plan(manifest.open(), store, chosen, snapshots)
    with replacing(out) as temporary, temporary.open("wb") as file:
        writer = _Writer(file)
        writer.raw(MAGIC)
        writer.record(plan.header(manifest).encode())
        for digest in plan.commits:
            certificate = store.certificate(digest)
            writer.record(_whole(store, digest).encode())
            writer.record(certificate.encode() if certificate is not None else b"")
        failpoint("bundle-commits")
        for at, blob in enumerate(plan.blobs, 1):
            writer.record(blob.encode())
            _copy(store, blob, writer)
            progress("payloads and snapshots", at, len(plan.blobs))
        writer.raw(writer.digest.digest())
        failpoint("bundle-written")
    states = sum(blob.state_of is not None for blob in plan.blobs)
    return Bundled(len(plan.commits), len(plan.blobs) - states, states, out.stat().st_size, plan.needs)


class _Writer:
    """Writes to a file and hashes what it writes."""

    def __init__(self, file: BinaryIO) -> None:
        self.digest = hashlib.sha256()
        self._file = file

    def raw(self, data: bytes) -> None:
        self.digest.update(data)
        self._file.write(data)

    def record(self, data: bytes) -> None:
        self.raw(len(data).to_bytes(LENGTH_BYTES, "big"))
        self.raw(data)


class _Plan:
    """What goes into the file: commits, none before its parents, then blobs in the order of their commits."""

    def __init__(self, event: EventManifest, store: Store, chosen: Sequence[bytes] | None, snapshots: bool) -> None:
        self._event = event
        self._store = store
        graph = StoreGraph(store)
        included = (history(graph, list(store.refs.all().values())) if chosen is None else list(chosen))[::-1]
        root = store.at_round(0)
        parents = {parent for digest in included for parent in graph.parents(digest)}
        self.needs = tuple(sorted(parents - {*included, root or b""}))
        self.commits = [digest for digest in included if digest != root]
        self._included = frozenset(included)
        states = self._included if snapshots else self._states_needed()
        self.blobs = list(dict.fromkeys(blob for digest in included for blob in self._blobs(digest, digest in states)))

    def header(self, manifest: SignedManifest) -> BundleHeader:
        """Return the file's header."""
        refs = tuple(
            BundledRef(name=name, commit=commit, tag=tag.encode() if (tag := self._store.refs.tag(name)) else None)
            for name, commit in self._store.refs.all().items()
            if name != MAIN and commit in self._included
        )
        if max(len(refs), len(self.needs)) > MAX_REFS or sum(len(ref.tag or b"") for ref in refs) > HEADER_BYTES // 2:
            raise UserError("there are too many branches and tags for one bundle", "bundle a RANGE that fewer of them point into")
        return BundleHeader(
            manifest=manifest.encode(), needs=self.needs, refs=refs, commits=len(self.commits), blobs=len(self.blobs),
            amendments=tuple(signed.encode() for signed in self._store.amendments.of(self._event).after(0)),
        )

    def _states_needed(self) -> frozenset[bytes]:
        """Return the commit whose state a replay starts from, if that is not made from the event's seed."""
        start = ReplayStart(self._event, self._store)
        chain = self._store.digests()[::-1]
        for digest in chain:
            start.saw(_whole(self._store, digest))
        if start.position is None or (start.position == 0 and self._event.start.seed is not None):
            return frozenset()
        return frozenset({chain[start.position]})

    def _blobs(self, digest: bytes, with_state: bool) -> Iterator[BundledBlob]:
        """Yield what is here of what a commit is made of, and its state."""
        for blob in blobs_of_commit(_whole(self._store, digest)):
            if self._store.blobs.has(blob.sha256):
                yield BundledBlob(sha256=blob.sha256, size=blob.size, state_of=None)
        state = self._store.snapshot_of(digest) if with_state else None
        size = self._store.blobs.size(state) if state is not None else None
        if state is not None and size is not None:
            yield BundledBlob(sha256=state, size=size, state_of=digest)


def _whole(store: Store, digest: bytes) -> Commit:
    """Return a commit. Raises UserError if its bytes are not what its name says."""
    try:
        return read_commit(store, digest)
    except Broken as broken:
        raise UserError(broken.finding.message, "`collab-node fsck` says what to do") from broken


def _copy(store: Store, blob: BundledBlob, writer: _Writer) -> None:
    """Append a blob's bytes. Raises UserError if they are not what its name says: no bundle hands damage on."""
    digest, size = hashlib.sha256(), 0
    with store.blobs.path(blob.sha256).open("rb") as file:
        while chunk := file.read(_CHUNK):
            writer.raw(chunk)
            digest.update(chunk)
            size += len(chunk)
    if (digest.digest(), size) != (blob.sha256, blob.size):
        raise UserError(f"blob {short(blob.sha256)} is damaged", "`collab-node fsck` says what to do")
