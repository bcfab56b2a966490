"""Bringing what a name needs from a source into a store. Nothing is believed, and no name moves here.

Commits come oldest first. Each is verified on the one before (rules, signatures, the certificate that makes it final) and then
kept; after them comes what they are made of (`material`). Killed at any point, what came is garbage at worst, and the next
attempt goes on from it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import aclosing

from ...protocol.amendments import Amendments
from ...protocol.ancestry import Ancestry, root_ancestry
from ...protocol.certificates import verify_certificate
from ...protocol.commit import Certificate, Commit
from ...protocol.errors import LocalProtocolError, RemoteProtocolError
from ...protocol.event import EventManifest
from ...protocol.merging import verify_commit
from ...protocol.messages import Blob
from ...protocol.refs import ancestors
from ...protocol.statement import verify_statement
from ..failpoints import failpoint
from ..history.graph import StoreGraph
from ..history.progress import Progress, silent
from ..units import short
from .material import LARGEST_BLOB, Brought, Material
from .place import Place
from .source import Missing, Source

_KEPT_AT_ONCE = 16
_HAVE = 64


class Receiver:
    """Receives from one source into one place. Methods raise what it raises, and RemoteProtocolError for what is wrong."""

    def __init__(self, place: Place, source: Source, progress: Progress = silent, limit: int = LARGEST_BLOB) -> None:
        """`limit`: how many bytes of blobs may come in all."""
        self.place = place
        self.source = source
        self._material = Material(place, source, progress, limit)
        self._store = place.store
        self._whole: set[bytes] = set()
        self._graph = StoreGraph(place.store)

    @property
    def brought(self) -> Brought:
        """What came so far."""
        return self._material.brought

    async def commit(self, tip: bytes) -> None:
        """Bring a commit, its ancestors, and of what they are made of whatever is there."""
        strange = await self._strange(tip)
        await self._material.payloads(strange)
        self._whole.update(strange)

    async def version(self, tip: bytes) -> None:
        """Bring what `commit` does, and all that a checkout of this commit needs. Raises Missing if that is not to be had."""
        strange = await self._strange(tip)
        await self._material.version(tip, strange)
        self._whole.update(strange)

    async def blobs(self, wanted: Iterable[Blob]) -> None:
        """Bring those of the blobs that are not here."""
        await self._material.blobs(wanted)

    async def _strange(self, tip: bytes) -> list[bytes]:
        """Bring the commits that lead to `tip`, and return those that no ref here reaches."""
        if not self._store.has_commit(tip):
            await self._commits(tip)
        if not self._whole:
            self._whole = ancestors(self._graph, self._store.refs.all().values())
        found, at = [], tip
        while at not in self._whole:
            found.append(at)
            parents = self._graph.parents(at)
            if not parents:
                break
            at = parents[0]
        return found

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
        batch.clear()
        proofs.clear()


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
