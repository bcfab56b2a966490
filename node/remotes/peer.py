"""Another node as a source: refs and records over calls, commits and payloads as blobs by hash, in parts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Collection, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Protocol, TypeVar

from ...protocol.amendments import SignedAmendment
from ...protocol.canonical import DOCUMENT_LIMITS, MESSAGE_LIMITS, Limits
from ...protocol.commit import Certificate, Commit, decode_commit
from ...protocol.errors import RemoteProtocolError
from ...protocol.exchange import SnapshotOffer
from ...protocol.messages import Blob
from ...protocol.record import Record, sha256
from ...protocol.remote import (
    MAX_HAVE,
    MAX_RECORD_BYTES,
    PATH_LIMITS,
    REFS_LIMITS,
    PathReply,
    PathRequest,
    RecordRequest,
    RefsReply,
    RefsRequest,
    StateReply,
    StateRequest,
    Target,
)
from ..amendments.asking import Calls, ask
from ..net.errors import Absent, NetworkError
from ..store import Store
from ..units import short
from .material import LARGEST_BLOB
from .source import Gone, Missing

REFS, PATH, STATE, RECORD, PUSH = "remote_refs", "remote_path", "remote_state", "remote_record", "remote_push"
_SECONDS = 20.0
_COMMITS_AT_ONCE = 16
_PAUSES = (0.5, 1.0, 2.0, 4.0)

R = TypeVar("R", bound=Record)


class Fetch(Protocol):
    """`net.fetch.BlobFetcher.fetch`: brings a blob into the store."""

    def __call__(self, digest: bytes, size: int, peers: Sequence[str], *, limit: int) -> Awaitable[Path]:
        """See BlobFetcher."""


class PeerSource:
    """What the node `peer` publishes of `event`, for a receiver whose store is `store`."""

    def __init__(self, rpc: Calls, fetch: Fetch, peer: str, event: bytes, store: Store) -> None:
        self._rpc = rpc
        self._fetch = fetch
        self._peer = peer
        self._event = event
        self._store = store

    async def refs(self) -> dict[str, Target]:
        """See Source."""
        reply = await self._ask(REFS, RefsRequest(event=self._event), RefsReply, REFS_LIMITS)
        return {ref.name: ref.target for ref in reply.refs}

    async def record(self, name: str, target: Target) -> bytes:
        """See Source."""
        if target.blob.size > MAX_RECORD_BYTES:
            raise RemoteProtocolError("oversized", f"a record of {target.blob.size} bytes")
        request = RecordRequest(event=self._event, name=name, sha256=target.blob.sha256)
        data = await self._call(RECORD, request, target.blob.size)
        if sha256(data) != target.blob.sha256:
            raise RemoteProtocolError("wrong_bytes", f"the record of {name} has another hash")
        return data

    async def commits(self, tip: bytes, have: Collection[bytes]) -> AsyncGenerator[tuple[Commit, Certificate | None]]:
        """See Source."""
        known = list(have)
        last: Commit | None = None
        while True:
            request = PathRequest(event=self._event, tip=tip, have=tuple(known[:MAX_HAVE]))
            reply = await self._ask(PATH, request, PathReply, PATH_LIMITS)
            if not reply.commits:
                raise RemoteProtocolError("malformed", f"a path to commit {short(tip)} that does not lead there")
            async with aclosing(self._bodies(reply.commits)) as bodies:
                async for commit in bodies:
                    if last is not None:
                        yield last, commit.parent_certificate
                    last = commit
            assert last is not None
            if not reply.more or last.digest == tip:
                yield last, reply.certificate
                return
            known = [last.digest, *have]

    async def _bodies(self, blobs: Sequence[Blob]) -> AsyncGenerator[Commit]:
        """Yield commits, a few fetched at once; if the receiver does not go on, what it did not keep of them is deleted."""
        for start in range(0, len(blobs), _COMMITS_AT_ONCE):
            batch = blobs[start : start + _COMMITS_AT_ONCE]
            if any(blob.size > DOCUMENT_LIMITS.size for blob in batch):
                raise RemoteProtocolError("oversized", "a commit")
            strange = [blob.sha256 for blob in batch if not self._store.blobs.has(blob.sha256)]
            try:
                for blob in batch:
                    await self.blob(blob)
                for blob in batch:
                    yield decode_commit(self._store.blobs.read(blob.sha256) or b"")
            except BaseException:
                for digest in strange:
                    if not self._store.has_commit(digest):
                        self._store.blobs.delete(digest)
                raise

    async def amendments(self) -> AsyncGenerator[SignedAmendment]:
        """See Source."""
        async with aclosing(ask(self._rpc, self._peer, self._event, 0)) as coming:
            async for signed in coming:
                yield signed

    async def state(self, tip: bytes) -> SnapshotOffer | None:
        """See Source."""
        try:
            return (await self._ask(STATE, StateRequest(event=self._event, tip=tip), StateReply, MESSAGE_LIMITS)).state
        except RemoteProtocolError as error:
            if (error.reason, error.detail) == ("refused", "unknown_call"):
                return None  # an older version, which gives payloads alone
            raise

    async def blob(self, blob: Blob) -> None:
        """See Source."""
        problem = f"it did not give blob {short(blob.sha256)}"
        try:
            await self._fetch(blob.sha256, blob.size, [self._peer], limit=LARGEST_BLOB)
        except Absent as error:
            raise Gone(f"{problem}: {error}", "fetch from another node") from error
        except NetworkError as error:
            raise Missing(f"{problem}: {error}", "repeat: what came is kept") from error

    async def _ask(self, name: str, request: Record, kind: type[R], limits: Limits) -> R:
        return kind.decode(await self._call(name, request, limits.size), limits)

    async def _call(self, name: str, request: Record, limit: int) -> bytes:
        """Ask, no faster than the peer lets us."""
        for pause in (*_PAUSES, None):
            try:
                return await self._rpc.call(self._peer, name, request.encode(), timeout=_SECONDS, limit=limit)
            except RemoteProtocolError as error:
                if pause is None or (error.reason, error.detail) != ("refused", "rate_limited"):
                    raise
                await asyncio.sleep(pause)
        raise AssertionError("the last one returns or raises")
