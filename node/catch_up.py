"""Learning what the swarm decided while we were away, and telling others.

A node asks a peer for the commits after the newest one that both have, fetches them by hash, verifies every one (signatures,
shares, roster, the certificate that made its parent final), and only then moves its head.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import structlog

from ..protocol.ancestry import Ancestry
from ..protocol.canonical import DOCUMENT_LIMITS
from ..protocol.certificates import verify_certificate
from ..protocol.commit import Certificate, Commit, decode_commit, root_commit
from ..protocol.errors import RemoteProtocolError
from ..protocol.event import EventManifest
from ..protocol.exchange import (
    COMMITS_A_REPLY,
    HistoryReply,
    HistoryRequest,
    ManifestRequest,
    SnapshotOffer,
    locator,
)  # fmt: skip
from ..protocol.manifest import SignedManifest
from ..protocol.merging import verify_commit
from ..protocol.messages import Blob
from .fetching import Fetcher, Unavailable
from .net.errors import NetworkError
from .net.rpc import Rpc
from .store.store import Store

log = structlog.get_logger()

MANIFEST, HISTORY = "manifest", "history"
_MANIFEST_BYTES = 256 * 1024
_REPLY_BYTES = 256 * 1024
_SNAPSHOTS_A_REPLY = 4


def ancestry_of(event: EventManifest, store: Store, commit: Commit) -> Ancestry:
    """Return a commit with the ancestors that a round on it has to know."""
    chain = [commit]
    while chain[-1].parents and len(chain) < Ancestry.depth(event):
        chain.append(store.commit(chain[-1].base))
    return Ancestry(chain)


class HistoryServer:
    """Answers what other nodes ask when they catch up."""

    def __init__(self, event: EventManifest, manifest: SignedManifest, store: Store) -> None:
        self._event = event
        self._manifest = manifest
        self._store = store

    def register(self, rpc: Rpc) -> None:
        """Answer `manifest` and `history` calls from now on."""
        rpc.register(MANIFEST, self.manifest)
        rpc.register(HISTORY, self.history)

    async def manifest(self, peer: str, body: bytes) -> bytes:
        """Return the signed manifest."""
        if ManifestRequest.decode(body).event != self._event.digest:
            raise RemoteProtocolError("unknown_event")
        return self._manifest.encode()

    async def history(self, peer: str, body: bytes) -> bytes:
        """Return what follows the newest commit that the caller shares with us."""
        request = HistoryRequest.decode(body)
        if request.event != self._event.digest:
            raise RemoteProtocolError("unknown_event")
        common = next((digest for digest in request.locator if self._store.on_chain(digest)), None)
        if common is None:
            raise RemoteProtocolError("unknown_base")
        later = self._store.digests_after(common, COMMITS_A_REPLY + 1)
        sent = later[:COMMITS_A_REPLY]
        return HistoryReply(
            commits=tuple(self._blob(digest) for digest in sent),
            certificate=self._store.certificate(sent[-1]) if sent else None,
            more=len(later) > len(sent),
            snapshots=tuple(
                SnapshotOffer(commit=snapshot.commit, blob=Blob(sha256=snapshot.blob.digest, size=snapshot.blob.size))
                for snapshot in self._store.snapshots(_SNAPSHOTS_A_REPLY)
            ),
        ).encode()

    def _blob(self, digest: bytes) -> Blob:
        return Blob(sha256=digest, size=self._store.blobs.size(digest) or 1)


async def fetch_manifest(rpc: Rpc, event: bytes, peers: Iterable[str]) -> SignedManifest:
    """Ask peers for an event's manifest; only the one with this id, signed by its coordinator, is taken. Raises Unavailable."""
    problems = []
    for peer in peers:
        try:
            body = await rpc.call(peer, MANIFEST, ManifestRequest(event=event).encode(), limit=_MANIFEST_BYTES)
            manifest = SignedManifest.decode(body, DOCUMENT_LIMITS)
            if manifest.open().digest == event:
                return manifest
            problems.append(f"{peer[-8:]} sent another event")
        except (NetworkError, RemoteProtocolError) as error:
            problems.append(str(error))
    raise Unavailable(f"no peer gave the event: {'; '.join(problems) or 'no peer is known'}")


class CatchUp:
    """Moves our head along what peers can prove."""

    def __init__(self, event: EventManifest, store: Store, rpc: Rpc, fetcher: Fetcher) -> None:
        self._event = event
        self._store = store
        self._rpc = rpc
        self._fetcher = fetcher
        self.offers: dict[bytes, SnapshotOffer] = {}

    def begin(self) -> None:
        """Make sure that the history has its root."""
        if self._store.head() is None:
            self._store.set_head(self._store.add_commit(root_commit(self._event)))

    async def ask(self, peer: str) -> bool:
        """Take over what `peer` can prove beyond our head; True if the head moved.

        Raises NetworkError or Unavailable if the peer cannot be asked, RemoteProtocolError if it lies.
        """
        moved = False
        while True:
            reply = await self._request(peer)
            if not reply.commits:
                return moved
            head = await self._take(peer, reply)
            moved = moved or head
            if not reply.more or not head:
                return moved

    async def _request(self, peer: str) -> HistoryReply:
        request = HistoryRequest(event=self._event.digest, locator=locator(self._store.digests()))
        body = await self._rpc.call(peer, HISTORY, request.encode(), limit=_REPLY_BYTES)
        reply = HistoryReply.decode(body, DOCUMENT_LIMITS)
        self.offers.update((offer.commit, offer) for offer in reply.snapshots)
        return reply

    async def _take(self, peer: str, reply: HistoryReply) -> bool:
        commits = await asyncio.gather(*(self._fetch(blob, peer) for blob in reply.commits))
        if not commits[0].parents or not self._store.on_chain(commits[0].base):
            raise RemoteProtocolError("unknown_base", "a history that does not begin on ours")
        for commit in commits:
            await asyncio.sleep(0)  # a long history is verified without stopping the daemon
            self._verify(commit)
            self._store.add_commit(commit)
        # An inner commit is proven by its child; the last one only by the certificate that came with it.
        proof = reply.certificate
        if proof is None or proof.commit != commits[-1].digest:
            commits = commits[:-1]
        else:
            verify_certificate(self._event, self._store.commit(proof.base), proof)
            self._store.add_commit(commits[-1], proof)
        return bool(commits) and self.advance(commits[-1], first=commits[0])

    async def _fetch(self, blob: Blob, peer: str) -> Commit:
        if blob.size > DOCUMENT_LIMITS.size:
            raise RemoteProtocolError("oversized", f"a commit of {blob.size} bytes")
        path = await self._fetcher.fetch(blob, (peer,))
        return decode_commit(path.read_bytes())

    def _verify(self, commit: Commit) -> None:
        if not commit.parents:
            raise RemoteProtocolError("unknown_base", "a second root")
        verify_commit(self._event, ancestry_of(self._event, self._store, self._store.commit(commit.base)), commit)

    def advance(self, head: Commit, *, first: Commit) -> bool:
        """Make `head` ours if it comes after what we have, or wins the fork choice where the chains part at `first`."""
        ours = self._store.at_round(first.round)
        if ours is not None and ours != first.digest and not self._wins(first, self._store.commit(ours)):
            return False
        if ours == first.digest and self._store.on_chain(head.digest):
            return False
        self._store.set_head(head.digest)
        return True

    def _wins(self, theirs: Commit, ours: Commit) -> bool:
        proofs = [self._store.certificate(commit.digest) for commit in (theirs, ours)]
        if proofs[0] is None or proofs[1] is None:
            return proofs[0] is not None
        return _epoch(proofs[0]) < _epoch(proofs[1])


def _epoch(certificate: Certificate) -> int:
    return certificate.epoch
