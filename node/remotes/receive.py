"""Bringing what a name needs from a source into a store. Nothing is believed, and no name moves here.

Commits come oldest first. Each is verified on the one before (rules, signatures, the certificate that makes it final) and then
kept; after them come the payloads of all that no ref here reached. Killed at any point, what came is garbage at worst, and the
next attempt goes on from it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from ...protocol.amendments import Amendments
from ...protocol.ancestry import Ancestry, root_ancestry
from ...protocol.certificates import verify_certificate
from ...protocol.commit import Certificate, Commit
from ...protocol.errors import LocalProtocolError, RemoteProtocolError
from ...protocol.event import EventManifest
from ...protocol.merging import verify_commit
from ...protocol.messages import Blob
from ...protocol.proposal import open_merge
from ...protocol.refs import ancestors
from ...protocol.statement import verify_statement
from ..failpoints import failpoint
from ..history.graph import StoreGraph
from ..history.progress import Progress, silent
from ..history.reading import blobs_of_commit
from ..units import short
from .place import Place
from .source import Missing, Source

LARGEST_BLOB = 1 << 36
_KEPT_AT_ONCE = 16
_BLOBS_AT_ONCE = 8
_HAVE = 64


@dataclass
class Brought:
    """What was new here."""

    commits: int = 0
    blobs: int = 0
    bytes: int = 0


class Receiver:
    """Receives from one source into one place. Methods raise what it raises, and RemoteProtocolError for what is wrong."""

    def __init__(self, place: Place, source: Source, progress: Progress = silent, limit: int = LARGEST_BLOB) -> None:
        """`limit`: how many bytes of blobs may come in all."""
        self.brought = Brought()
        self.place = place
        self.source = source
        self._store = place.store
        self._progress = progress
        self._limit = limit
        self._merges: list[Commit] = []
        self._whole: set[bytes] = set()
        self._graph = StoreGraph(place.store)

    async def commit(self, tip: bytes) -> None:
        """Bring a commit, its ancestors, and what they are made of."""
        if not self._store.has_commit(tip):
            await self._commits(tip)
        if not self._whole:
            self._whole = ancestors(self._graph, self._store.refs.all().values())
        if tip in self._whole:
            return
        strange = self._strange(tip)
        await self.blobs(blob for digest in strange for blob in blobs_of_commit(self._store.commit(digest)))
        self._whole.update(strange)

    def _strange(self, tip: bytes) -> list[bytes]:
        """Return the commits that lead to `tip` and that no ref here reaches, oldest first."""
        found, at = [], tip
        while at not in self._whole:
            found.append(at)
            parents = self._graph.parents(at)
            if not parents:
                break
            at = parents[0]
        return found[::-1]

    async def _commits(self, tip: bytes) -> None:
        batch: list[Commit] = []
        proofs: list[Certificate | None] = []
        event, ancestry = self.place.event, None
        async with aclosing(self.source.commits(tip, self._have())) as coming:
            async for commit, certificate in coming:
                ancestry = ancestry or await self._ancestry(commit)
                await self._learn(ancestry, commit)
                verify(event, ancestry, commit, certificate, self._lookup(batch))
                ancestry = ancestry.after(event, commit)
                batch.append(commit)
                proofs.append(certificate)
                if len(batch) == _KEPT_AT_ONCE:
                    self._keep(batch, proofs)
                await asyncio.sleep(0)  # a long history is verified without stopping a daemon
            self._keep(batch, proofs)
        failpoint("remote-commits")
        if not self._store.has_commit(tip):
            raise Missing(f"commit {short(tip)} did not come")

    async def _learn(self, ancestry: Ancestry, commit: Commit) -> None:
        """Take over the amendments that are known there, if the commit names one that is not known here."""
        if ancestry.amendments is None or commit.amendment in ancestry.amendments:
            return
        await self._take_amendments(ancestry.amendments)

    async def amendments(self) -> None:
        """Bring the amendments, also those that no commit names yet."""
        await self._take_amendments(self._store.amendments.of(self.place.event))

    async def _take_amendments(self, known: Amendments) -> None:
        async with aclosing(self.source.amendments()) as coming:
            async for signed in coming:
                if known.add(signed):
                    self._store.amendments.add(signed)

    def _have(self) -> list[bytes]:
        """Return commits that are here, ancestors included: of the refs, then of the chain, dense at the head, sparser below."""
        chain = self._store.digests()
        sparse = [chain[at] for at in _sparse(len(chain))]
        tips = self._store.refs.all().values()
        return list(dict.fromkeys([*sparse, *tips]))[:_HAVE]

    async def _ancestry(self, first: Commit) -> Ancestry:
        """Return what `first` is verified on, followed from the root on. Raises RemoteProtocolError if its parent is not here."""
        if not first.parents or not self._store.has_commit(first.base):
            raise RemoteProtocolError("unknown_parent", short(first.digest))
        path = [self._store.commit(first.base)]
        while path[-1].parents:
            path.append(self._store.commit(path[-1].base))
            await asyncio.sleep(0)
        event = self.place.event
        ancestry = root_ancestry(event, self._store.amendments.of(event))
        for commit in path[-2::-1]:
            ancestry = ancestry.after(event, commit)
            await asyncio.sleep(0)
        return ancestry

    def _lookup(self, batch: list[Commit]) -> Callable[[bytes], Commit]:
        pending = {commit.digest: commit for commit in batch}
        return lambda digest: pending.get(digest) or self._store.commit(digest)

    def _keep(self, batch: list[Commit], proofs: list[Certificate | None]) -> None:
        with self._store.transaction():
            for commit, certificate in zip(batch, proofs, strict=True):
                self.brought.commits += not self._store.has_commit(commit.digest)
                self._store.add_commit(commit, certificate)
        self._merges += [commit for commit in batch if commit.method == "proposals"]
        batch.clear()
        proofs.clear()

    def note_merged(self) -> None:
        """Note which proposals the commits that came have merged. Comes last: proposals may come after such a commit."""
        for commit in self._merges:
            merged = [signed.digest for signed, _ in open_merge(commit)[1].opened()]
            self._store.proposals.mark_merged(merged, commit.digest)

    async def blobs(self, wanted: Iterable[Blob]) -> None:
        """Bring those of the blobs that are not here."""
        blobs = self._store.blobs
        lacking = [blob for blob in dict.fromkeys(wanted) if blobs.size(blob.sha256) != blob.size]
        needed = sum(blob.size for blob in lacking)
        if self.brought.bytes + needed > self._limit:
            raise RemoteProtocolError("oversized", f"{needed} bytes where {self._limit - self.brought.bytes} are allowed")
        self.place.home.ensure_space(needed)
        for start in range(0, len(lacking), _BLOBS_AT_ONCE):
            chunk = lacking[start : start + _BLOBS_AT_ONCE]
            await _all(self._blob(blob) for blob in chunk)
            self._progress("payloads", min(start + _BLOBS_AT_ONCE, len(lacking)), len(lacking))

    async def _blob(self, blob: Blob) -> None:
        await self.source.blob(blob)
        if self._store.blobs.size(blob.sha256) != blob.size:
            raise Missing(f"blob {short(blob.sha256)} here is damaged: its size is another", "see `collab-node fsck`")
        self.brought.blobs += 1
        self.brought.bytes += blob.size
        failpoint("remote-blob")


def verify(
    event: EventManifest, ancestry: Ancestry, commit: Commit, certificate: Certificate | None, lookup: Callable[[bytes], Commit]
) -> None:
    """Raise RemoteProtocolError unless `commit` is valid after `ancestry`, and final if a round made it."""
    if commit.event != event.digest:
        raise RemoteProtocolError("wrong_event", short(commit.digest))
    if commit.parents != (ancestry.base.digest,):
        raise RemoteProtocolError("unknown_parent", short(commit.digest))
    try:
        if commit.statement is not None:
            verify_statement(ancestry.amendments or Amendments(event), ancestry.base, commit, lookup)
            return
        verify_commit(event, ancestry, commit)
    except (LocalProtocolError, KeyError) as error:
        raise RemoteProtocolError("malformed", f"commit {short(commit.digest)}: {error}") from error
    if certificate is None or certificate.commit != commit.digest:
        raise RemoteProtocolError("bad_certificate", f"nothing proves that commit {short(commit.digest)} is final")
    verify_certificate(ancestry.event_on(event, ancestry.base), ancestry.base, certificate)


def _sparse(length: int) -> list[int]:
    """Return positions from 0 on, the first ones dense, then ever sparser, the last always."""
    found: list[int] = []
    at, step = 0, 1
    while at < length - 1 and len(found) < _HAVE // 2:
        found.append(at)
        step *= 2 if len(found) >= 8 else 1
        at += step
    return [*found, length - 1] if length else []


async def _all(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Do all at once to the end of each; then raise what the first of those that failed raised."""
    failures = [each for each in await asyncio.gather(*work, return_exceptions=True) if each is not None]
    if failures:
        raise failures[0]
