"""Fetching a blob from several peers at once.

The caller says which blob and how large it is, from a signed message, and what it may cost; nothing a peer claims leads to
an allocation. Parts are written at their offsets into a partial file with a resume map beside it. A blob is known to be right
only at its end, by its SHA-256. If it is wrong, its parts' hashes are kept, the blob is fetched again from one peer at a time,
and the comparison shows exactly who served wrong bytes.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar
from weakref import WeakValueDictionary

from . import blobs, wire
from .blob_limits import BlobLimits
from .blobs import BlobSink, BlobSource, Status
from .errors import Absent, NetworkError
from .p2p import P2PHost
from .pacing import Pacer
from .parts import Part, Plan, ResumeMap, cut
from .traffic import Traffic

_BUFFER = 1024 * 1024
_BUSY_SECONDS = 0.25
_BUSY_TRIES = 40
_IDLE_SECONDS = 0.2
_ABSENT = "does not have it"

T = TypeVar("T")

OnFault = Callable[[str, str], None]
OnFetched = Callable[[bytes, int, Mapping[str, int]], None]


class _PeerFault(Exception):
    """The peer broke the protocol, stalled or vanished; the text is the reason that is reported."""


class _Unhelpful(Exception):
    """The peer does not have the blob or has no time: no fault."""


class DiskError(NetworkError):
    """We could not write what we fetched."""


class BlobFetcher:
    """Fetches blobs into `sink`.

    `on_fault(peer, reason)` hears of `wrong_bytes`, `stalled`, `lost` and `malformed`; `on_fetched(digest, size, donors)`, an
    attribute to be set, of every blob that came and was right, with the bytes that each donor gave. Parts are asked
    for as fast as the `pacer` lets them.
    """

    def __init__(
        self,
        host: P2PHost,
        source: BlobSource,
        sink: BlobSink,
        traffic: Traffic,
        limits: BlobLimits,
        on_fault: OnFault = lambda peer, reason: None,
    ) -> None:
        self._host = host
        self.on_fetched: OnFetched = lambda digest, size, donors: None
        self.pacer = Pacer()
        self._source = source
        self._sink = sink
        self._traffic = traffic
        self._limits = limits
        self._on_fault = on_fault
        self._fetches = asyncio.Semaphore(limits.fetches)
        self._streams = asyncio.Semaphore(limits.streams)
        self._of_peer: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._locks: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()

    async def fetch(self, digest: bytes, size: int, peers: Iterable[str], *, limit: int) -> Path:
        """Fetch the blob of `size` bytes with this SHA-256 from `peers`, and return its place in the store.

        Returns at once if the store has it. Raises NetworkError if it is larger than `limit`, if no peer could serve it whole
        (what was fetched is kept, and the next call goes on from there; Absent if none has it), or if the disk failed.
        """
        if not 0 < size <= limit:
            raise NetworkError(f"blob {digest.hex()[:12]} has {size} bytes, where {limit} are allowed")
        candidates = [peer for peer in dict.fromkeys(peers) if peer != self._host.peer_id]
        lock = self._locks.setdefault(digest, asyncio.Lock())
        async with lock, self._fetches:
            return self._stored(digest) or await self._fetch(digest, size, candidates)

    @asynccontextmanager
    async def _place(self, peer: str) -> AsyncIterator[None]:
        """Wait until one more stream to `peer` may be open."""
        own = self._of_peer.setdefault(peer, asyncio.Semaphore(self._limits.streams_of_peer))
        async with own, self._streams:
            yield

    def _stored(self, digest: bytes) -> Path | None:
        found = self._source.open(digest)
        return found[0] if found is not None and isinstance(found[0], Path) else None

    async def _fetch(self, digest: bytes, size: int, peers: list[str]) -> Path:
        path = self._sink.partial_path(digest)
        attempt = _Attempt(self, digest, size, path)
        try:
            dropped = await attempt.run(peers, attempt.resume.load())
            if not await attempt.verified():
                await self._fetch_singly(attempt, [peer for peer in peers if peer not in dropped])
            attempt.resume.remove()
            stored = await _in_thread(partial(self._sink.commit, digest, path))  # it hashes and syncs what may be gigabytes
        except DiskError:
            raise
        except OSError as error:
            raise DiskError(f"cannot write {path}: {error.strerror}") from error
        self.on_fetched(digest, size, attempt.donors())
        return stored

    async def _fetch_singly(self, attempt: _Attempt, peers: list[str]) -> None:
        suspects = await attempt.part_digests()
        first_sources = set(attempt.plan.sources.values())
        if len(first_sources) == 1 and attempt.fresh:
            peers = [peer for peer in peers if peer not in first_sources]
            await self._accuse(attempt, first_sources.pop())
            suspects = {}
        for peer in peers:
            attempt.resume.remove()
            try:
                await attempt.run([peer], set())
            except DiskError:
                raise
            except NetworkError:
                continue
            if await attempt.verified():
                self._blame(suspects, await attempt.part_digests())
                return
            await self._accuse(attempt, peer)
            suspects = {part: entry for part, entry in suspects.items() if entry[0] != peer}
        attempt.resume.remove()
        raise NetworkError(f"no peer served the right bytes of blob {attempt.digest.hex()[:12]}")

    async def _accuse(self, attempt: _Attempt, peer: str) -> None:
        """Blame a peer whose blob has another hash, unless it is longer: then whoever told us the size is wrong, not the peer."""
        if await attempt.ends_at(peer):
            self._on_fault(peer, "wrong_bytes")

    def _blame(self, suspects: dict[int, tuple[str, bytes]], good: dict[int, tuple[str, bytes]]) -> None:
        for peer in sorted({peer for part, (peer, digest) in suspects.items() if good[part][1] != digest}):
            self._on_fault(peer, "wrong_bytes")


class _Attempt:
    """One pass over the parts of a blob."""

    def __init__(self, fetcher: BlobFetcher, digest: bytes, size: int, path: Path) -> None:
        self.digest = digest
        self.size = size
        self.path = path
        self.fresh = True
        self._fetcher = fetcher
        self._limits = fetcher.pacer.fits(fetcher._limits)
        self.parts = cut(size, self._limits.part_bytes)
        self.plan = Plan(self.parts, set())
        self.resume = ResumeMap(path, size, self._limits.part_bytes)

    async def run(self, peers: list[str], done: set[int]) -> set[str]:
        """Fetch what is not in `done`; return the peers that were dropped. Raises NetworkError when no peer is left."""
        self.plan = Plan(self.parts, done)
        self.fresh = not done
        if self.plan.complete:
            return set()
        dropped: dict[str, str] = {}
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.ftruncate(descriptor, self.size)
            await self._run_workers(descriptor, peers, dropped)
        finally:
            os.close(descriptor)
        if not self.plan.complete:
            why = ", ".join(f"{peer[-6:]} {reason}" for peer, reason in dropped.items()) or "nobody to ask"
            kind = Absent if set(dropped.values()) == {_ABSENT} else NetworkError
            raise kind(f"cannot fetch blob {self.digest.hex()[:12]}: {why}")
        return set(dropped)

    async def _run_workers(self, descriptor: int, peers: list[str], dropped: dict[str, str]) -> None:
        # Every peer gets a stream before any gets a second one.
        turns = deque(peer for _ in range(self._limits.streams_per_peer) for peer in peers)
        width = min(self._limits.streams, sum(1 for _ in self.plan.missing()))
        workers: set[asyncio.Task[None]] = set()
        try:
            while (workers or turns) and not self.plan.complete:
                while turns and len(workers) < width:
                    workers.add(asyncio.create_task(self._work(descriptor, turns.popleft(), dropped)))
                ended, workers = await asyncio.wait(
                    workers, timeout=self.plan.straggle, return_when=asyncio.FIRST_COMPLETED
                )
                for worker in ended:
                    worker.result()
                if not ended and not self._fetcher.pacer.rate:
                    width += 1  # slow: let one more peer help
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def _work(self, descriptor: int, peer: str, dropped: dict[str, str]) -> None:
        try:
            async with self._fetcher._place(peer), self._stream(peer) as (reader, writer):
                while not self.plan.complete and peer not in dropped:
                    part = self.plan.take(peer, asyncio.get_running_loop().time())
                    if part is None:
                        await asyncio.sleep(_IDLE_SECONDS)
                    else:
                        await self._fetch_part(descriptor, peer, part, reader, writer)
        except _Unhelpful as reason:
            dropped.setdefault(peer, str(reason))
        except _PeerFault as reason:
            if peer not in dropped:
                dropped[peer] = str(reason)
                self._fetcher._on_fault(peer, str(reason))

    @asynccontextmanager
    async def _stream(self, peer: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        try:
            reader, writer = await self._fetcher._host.open_stream(peer, blobs.PROTOCOL)
        except NetworkError as error:
            raise _Unhelpful("unreachable") from error
        try:
            yield reader, writer
        finally:
            await wire.close(writer)

    async def _fetch_part(
        self, descriptor: int, peer: str, part: Part, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            await self._fetcher.pacer.take(part.length)
            async with asyncio.timeout(self._limits.part):
                await self._request(part, reader, writer)
                await self._receive(descriptor, part, reader)
        except TimeoutError as error:
            raise _PeerFault("stalled") from error
        except (ConnectionError, EOFError) as error:
            raise _PeerFault("lost") from error
        finally:
            self.plan.give_back(part, peer)
        if self.plan.finish(part, peer):
            self._write(partial(self.resume.save, self.plan.done))

    async def _request(self, part: Part, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(_BUSY_TRIES):
            status, length = await self._ask(part.offset, part.length, reader, writer)
            if status == Status.OK and length == part.length:
                return
            if status == Status.ABSENT:
                raise _Unhelpful(_ABSENT)
            if status == Status.REFUSED:
                raise _Unhelpful("refused")  # its blob may be shorter than we were told
            if status != Status.BUSY:
                raise _PeerFault("malformed")
            await asyncio.sleep(_BUSY_SECONDS)
        raise _Unhelpful("busy")

    async def _ask(
        self, offset: int, length: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> tuple[int, int]:
        """Ask for bytes, and return the answer's status and how many follow it."""
        wire.write_frame(writer, blobs.encode_request(self.digest, offset, length))
        await writer.drain()
        async with asyncio.timeout(self._limits.stall):
            status, follows = blobs.HEADER.unpack(await reader.readexactly(blobs.HEADER.size))
        return status, follows

    async def ends_at(self, peer: str) -> bool:
        """Whether `peer` says that its blob has this size: it refuses the byte after the end."""
        try:
            async with self._stream(peer) as (reader, writer):
                status, _ = await self._ask(self.size, 1, reader, writer)
        except (_Unhelpful, OSError, EOFError):
            return False
        return status == Status.REFUSED

    async def _receive(self, descriptor: int, part: Part, reader: asyncio.StreamReader) -> None:
        offset, end = part.offset, part.offset + part.length
        while offset < end:
            pieces: list[bytes] = []
            held = 0
            while held < min(_BUFFER, end - offset):
                async with asyncio.timeout(self._limits.stall):
                    piece = await reader.read(min(_BUFFER - held, end - offset - held))
                if not piece:
                    raise EOFError("the stream ended within a part")
                pieces.append(piece)
                held += len(piece)
            await _in_thread(partial(self._write, partial(_write_at, descriptor, pieces, offset)))
            self._fetcher._traffic.received["blob"] += held
            offset += held

    def _write(self, write: Callable[[], None]) -> None:
        try:
            write()
        except OSError as error:
            raise DiskError(f"cannot write {self.path}: {error.strerror}") from error

    async def verified(self) -> bool:
        """Whether the whole file has the right SHA-256."""
        return await asyncio.to_thread(_hash_range, self.path, 0, self.size) == self.digest

    def donors(self) -> Counter[str]:
        """Return how many bytes each peer gave in this pass."""
        given = Counter[str]()
        for part in self.parts:
            if (peer := self.plan.sources.get(part.index)) is not None:
                given[peer] += part.length
        return given

    async def part_digests(self) -> dict[int, tuple[str, bytes]]:
        """Return, for each part fetched in this pass, who served it and its SHA-256."""
        return {
            part.index: (
                self.plan.sources[part.index],
                await asyncio.to_thread(_hash_range, self.path, part.offset, part.length),
            )
            for part in self.parts
            if part.index in self.plan.sources
        }


async def _in_thread(work: Callable[[], T]) -> T:
    """Do `work` in a thread, to its end even if we are cancelled: it writes to a descriptor that is closed after us, and whose
    number is then another file's."""
    doing = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(doing)
    except asyncio.CancelledError:
        while not doing.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait({doing})
        doing.exception()  # nobody else asks
        raise


def _write_at(descriptor: int, pieces: list[bytes], offset: int) -> None:
    data = memoryview(b"".join(pieces))
    while data:
        written = os.pwrite(descriptor, data, offset)
        data = data[written:]
        offset += written


def _hash_range(path: Path, offset: int, length: int) -> bytes:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        file.seek(offset)
        while length and (chunk := file.read(min(length, _BUFFER))):
            digest.update(chunk)
            length -= len(chunk)
    return digest.digest()
