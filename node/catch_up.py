"""Learning what the swarm decided while we were away, and telling others.

A node asks a peer for the commits after the newest one that both have, fetches them by hash, verifies every one (signatures,
shares, roster, the certificate that made its parent final), and only then moves its head.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from ..protocol.ancestry import Ancestry
from ..protocol.canonical import DOCUMENT_LIMITS
from ..protocol.commit import Certificate, Commit, decode_commit
from ..protocol.errors import RemoteProtocolError
from ..protocol.event import EventManifest
from ..protocol.exchange import (
    COMMITS_A_REPLY,
    HistoryReply,
    HistoryRequest,
    ManifestRequest,
    SnapshotOffer,
)  # fmt: skip
from ..protocol.history import History
from ..protocol.manifest import SignedManifest
from ..protocol.merging import verify_commit
from ..protocol.messages import Blob
from .failpoints import failpoint
from .fetching import Fetcher, Unavailable
from .net.errors import NetworkError
from .net.rpc import Rpc
from .offers import SnapshotOffers
from .store.store import Store

MANIFEST, HISTORY = "manifest", "history"
_MANIFEST_BYTES = 256 * 1024
_REPLY_BYTES = 256 * 1024
_SNAPSHOTS_A_REPLY = 4


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

    def __init__(self, history: History, store: Store, rpc: Rpc, fetcher: Fetcher) -> None:
        self.offers = SnapshotOffers()
        self._history = history
        self._store = store
        self._rpc = rpc
        self._fetcher = fetcher

    async def ask(self, peer: str) -> bool:
        """Take over what `peer` can prove beyond our head; True if the head moved.

        Raises NetworkError or Unavailable if the peer cannot be asked, RemoteProtocolError if it lies.
        """
        moved = False
        while True:
            reply = await self._request(peer)
            took = bool(reply.commits) and await self._take(peer, reply)
            moved = moved or took
            if not (took and reply.more):
                return moved

    async def _request(self, peer: str) -> HistoryReply:
        request = HistoryRequest(event=self._history.event.digest, locator=tuple(self._history.locator()[:64]))
        body = await self._rpc.call(peer, HISTORY, request.encode(), limit=_REPLY_BYTES)
        reply = HistoryReply.decode(body, DOCUMENT_LIMITS)
        for offer in reply.snapshots:
            self.offers.add(offer)
        return reply

    async def _take(self, peer: str, reply: HistoryReply) -> bool:
        if reply.certificate is None:
            raise RemoteProtocolError("bad_certificate", "a history without one")
        commits = await asyncio.gather(*(self._fetch(blob, peer) for blob in reply.commits))
        return await self.accept(commits, reply.certificate)

    async def _fetch(self, blob: Blob, peer: str) -> Commit:
        if blob.size > DOCUMENT_LIMITS.size:
            raise RemoteProtocolError("oversized", f"a commit of {blob.size} bytes")
        path = await self._fetcher.fetch(blob, (peer,))
        return decode_commit(path.read_bytes())

    async def accept(self, commits: Sequence[Commit], certificate: Certificate) -> bool:
        """Verify a chain on a commit that we have, and keep it; True if the head moved. Raises RemoteProtocolError."""
        if not commits[0].parents or (base := self._history.get(commits[0].base)) is None:
            raise RemoteProtocolError("unknown_base", "a history that does not begin on ours")
        chain = [*self._history.ancestry(base.digest).commits[::-1], *commits]
        start = len(chain) - len(commits)
        for at in range(start, len(chain)):
            await asyncio.sleep(0)  # a long history is verified without stopping the daemon
            known = chain[max(0, at - Ancestry.depth(self._history.event)) : at]
            verify_commit(self._history.event, Ancestry(known[::-1]), chain[at])
        moved = self._history.extend(commits, certificate)
        failpoint("keeping")
        self._keep(commits, certificate)
        return moved

    def _keep(self, commits: Sequence[Commit], certificate: Certificate) -> None:
        """Make the store follow the history: commits first, then the head."""
        with self._store.transaction():
            for commit in commits:
                self._store.add_commit(commit, certificate if commit is commits[-1] else None)
            self._store.set_head(self._history.head.digest)


def restore_history(event: EventManifest, store: Store) -> History:
    """Return the history as the store has it; an empty store gets the event's root."""
    history = History(event)
    if store.head() is None:
        store.set_head(store.add_commit(history.root))
    for commit in store.chain()[::-1]:
        certificate = store.certificate(commit.digest)
        if certificate is not None:
            history.add(commit, certificate)
    return history
