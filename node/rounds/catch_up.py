"""Learning what the swarm decided while we were away, and telling others.

A node asks a peer for the commits after the newest one that both have, fetches them by hash, verifies every one (signatures,
shares, roster, the certificate that made its parent final), and only then moves its head.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from ...protocol.canonical import DOCUMENT_LIMITS
from ...protocol.commit import Certificate, Commit, decode_commit
from ...protocol.errors import RemoteProtocolError
from ...protocol.event import EventManifest
from ...protocol.exchange import (
    COMMITS_A_REPLY,
    HistoryReply,
    HistoryRequest,
    ManifestRequest,
    SnapshotOffer,
)  # fmt: skip
from ...protocol.history import History
from ...protocol.manifest import SignedManifest
from ...protocol.merging import verify_commit
from ...protocol.messages import Blob
from ..amendments.learning import Learning
from ..failpoints import failpoint
from ..net.errors import NetworkError
from ..net.rpc import Rpc
from ..store import behind
from ..store.store import Store
from .fetching import Fetcher, Unavailable
from .offers import SnapshotOffers

MANIFEST, HISTORY = "manifest", "history"
_MANIFEST_BYTES = 256 * 1024
_REPLY_BYTES = 256 * 1024
_SNAPSHOTS_A_REPLY = 4
_COMMITS_AT_ONCE = 16  # what may be in memory, and on the disk, before it is proven


class HistoryServer:
    """Answers what other nodes ask when they catch up."""

    def __init__(self, manifest: SignedManifest, history: History, store: Store) -> None:
        self._manifest = manifest
        self._history = history
        self._store = store

    def register(self, rpc: Rpc) -> None:
        """Answer `manifest` and `history` calls from now on."""
        rpc.register(MANIFEST, self.manifest)
        rpc.register(HISTORY, self.history)

    async def manifest(self, peer: str, body: bytes) -> bytes:
        """Return the signed manifest."""
        self._check_event(ManifestRequest.decode(body).event)
        return self._manifest.encode()

    async def history(self, peer: str, body: bytes) -> bytes:
        """Return what follows the newest commit that the caller shares with us."""
        request = HistoryRequest.decode(body)
        self._check_event(request.event)
        common = self._history.newest_common(request.locator)
        later = self._history.path(common, self._history.head.digest)
        sent = later[:COMMITS_A_REPLY]
        return HistoryReply(
            commits=tuple(self._blob(digest) for digest in sent),
            certificate=self._history.certificate(sent[-1]) if sent else None,
            more=len(later) > len(sent),
            snapshots=tuple(
                SnapshotOffer(commit=snapshot.commit, blob=Blob(sha256=snapshot.blob.digest, size=snapshot.blob.size))
                for snapshot in self._store.snapshots(_SNAPSHOTS_A_REPLY)
            ),
        ).encode()

    def _check_event(self, event: bytes) -> None:
        if event != self._history.event.digest:
            raise RemoteProtocolError("unknown_event")

    def _blob(self, digest: bytes) -> Blob:
        return Blob(sha256=digest, size=self._store.blobs.size(digest) or 1)


async def fetch_manifest(rpc: Rpc, event: bytes, peers: Iterable[str]) -> SignedManifest:
    """Ask peers for an event's manifest; only the one with this id, signed by its coordinator, is taken. Raises Unavailable."""
    problems = []
    for peer in peers:
        try:
            body = await rpc.call(peer, MANIFEST, ManifestRequest(event=event).encode(), limit=_MANIFEST_BYTES)
            manifest = SignedManifest.decode_file(body)
            manifest.open(event)
            return manifest
        except (NetworkError, RemoteProtocolError) as error:
            problems.append(str(error))
    raise Unavailable(f"no peer gave the event: {'; '.join(problems) or 'no peer is known'}")


class CatchUp:
    """Moves our head along what peers can prove."""

    def __init__(
        self, history: History, store: Store, rpc: Rpc, fetcher: Fetcher, learning: Learning | None = None
    ) -> None:
        """`learning` asks whoever gives us commits for the amendments that they name."""
        self._learning = learning or Learning(history, store, rpc)
        self.offers = SnapshotOffers()
        self._history = history
        self._store = store
        self._rpc = rpc
        self._fetcher = fetcher

    async def ask(self, peer: str) -> bool:
        """Take over what `peer` can prove beyond our head; True if the head moved.

        Raises NetworkError or Unavailable if the peer cannot be asked, RemoteProtocolError if it lies.
        """
        moved, told = False, self._history.root
        while True:
            reply = await self._request(peer, told)
            known = all(blob.sha256 in self._history for blob in reply.commits)
            took = await self._take(peer, reply) if reply.commits else False
            self._note_offers(reply, peer)
            moved = moved or took
            last = self._history.get(reply.commits[-1].sha256) if reply.commits else None
            # A page that we know is on the way from where two histories part, if it leads further than the one before.
            if last is None or not reply.more or not (took or known) or last.round <= told.round:
                return moved
            told = last

    async def _request(self, peer: str, told: Commit) -> HistoryReply:
        """Ask for what follows `told`, the last commit that the peer told us of, or what we have in common."""
        begin = (told.digest,) if told.parents else ()
        locator = (*begin, *self._history.locator())[:64]
        request = HistoryRequest(event=self._history.event.digest, locator=locator)
        body = await self._rpc.call(peer, HISTORY, request.encode(), limit=_REPLY_BYTES)
        return HistoryReply.decode(body, DOCUMENT_LIMITS)

    def _note_offers(self, reply: HistoryReply, peer: str) -> None:
        for offer in reply.snapshots:
            if offer.commit in self._history:  # so that inventions do not crowd out what can be used
                self.offers.add(offer, peer)

    async def _take(self, peer: str, reply: HistoryReply) -> bool:
        """Take over a page, a few commits at once: each is proven by its child before more is fetched."""
        moved, unproven = False, list[Commit]()
        for start in range(0, len(reply.commits), _COMMITS_AT_ONCE):
            batch = reply.commits[start : start + _COMMITS_AT_ONCE]
            strange = [blob.sha256 for blob in batch if not self._store.blobs.has(blob.sha256)]
            try:
                *proven, last = [*unproven, *await self._fetch_all(batch, peer)]
                for commit in (*proven, last):
                    await self._learning.require(commit.amendment, peer)
                if proven:
                    moved |= await self.accept(proven, last.parent_certificate)
                unproven = [last]
                if start + len(batch) == len(reply.commits):
                    moved |= await self.accept(unproven, reply.certificate)
            except (RemoteProtocolError, Unavailable):
                self._discard(strange)
                raise
        return moved

    def _discard(self, digests: Iterable[bytes]) -> None:
        """Delete what was fetched for commits and is none of this history."""
        for digest in digests:
            if digest not in self._history and not self._store.has_commit(digest):
                self._store.blobs.delete(digest)

    async def _fetch_all(self, blobs: Sequence[Blob], peer: str) -> list[Commit]:
        found = await asyncio.gather(*(self._fetch(blob, peer) for blob in blobs), return_exceptions=True)
        failures = [one for one in found if isinstance(one, BaseException)]
        if failures:
            raise failures[0]
        return [one for one in found if isinstance(one, Commit)]

    async def _fetch(self, blob: Blob, peer: str) -> Commit:
        if blob.size > DOCUMENT_LIMITS.size:
            raise RemoteProtocolError("oversized", f"a commit of {blob.size} bytes")
        path = await self._fetcher.fetch(blob, (peer,))
        return decode_commit(path.read_bytes())

    async def accept(self, commits: Sequence[Commit], certificate: Certificate | None) -> bool:
        """Verify a chain on a commit that we have, and keep it; True if the head moved. Raises RemoteProtocolError."""
        if certificate is None:
            raise RemoteProtocolError("bad_certificate", "a history without one")
        if not commits[0].parents or (base := self._history.get(commits[0].base)) is None:
            raise RemoteProtocolError("unknown_base", "a history that does not begin on ours")
        event, ancestry = self._history.event, self._history.ancestry(base.digest)
        for commit in commits:
            await asyncio.sleep(0)  # a long history is verified without stopping the daemon
            verify_commit(event, ancestry, commit)
            ancestry = ancestry.after(event, commit)
        moved = self._history.extend(commits, certificate)
        failpoint("keeping")
        self._keep(commits, certificate)
        return moved

    def _keep(self, commits: Sequence[Commit], certificate: Certificate) -> None:
        """Make the store follow the history: commits first, then the head."""
        with self._store.transaction():
            if self._history.head.digest != self._store.head():
                behind.moves_on(self._store)
            for commit in commits:
                self._store.add_commit(commit, certificate if commit is commits[-1] else None)
            self._store.set_head(self._history.head.digest)


def restore_history(event: EventManifest, store: Store) -> History:
    """Return the history as the store has it; an empty store gets the event's root.

    What is not proven to be final is no part of it, and the store's head goes back to before that.
    """
    history = History(event, store.amendments.of(event))
    if store.head() is None:
        store.set_head(store.add_commit(history.root))
    for commit in store.chain()[::-1][1:]:
        certificate = store.certificate(commit.digest)
        if certificate is None:
            store.set_head(history.head.digest)
            break
        history.add(commit, certificate)
    return history
