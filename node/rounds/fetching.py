"""Getting a blob from wherever it is: here already, from who made it, or from anyone on the same chain."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from ...protocol.messages import Blob
from ..net.errors import NetworkError
from ..store.blobs import Blobs


class Unavailable(Exception):
    """No peer that could be reached gave the bytes."""


# Fetches (digest, size) from the given peers, in this order of preference, and returns where the bytes are.
Download = Callable[[bytes, int, Sequence[str]], Awaitable[Path]]


class Fetcher:
    """One download a blob, however many ask for it; a blob that is here is returned at once."""

    def __init__(self, blobs: Blobs, download: Download, peers: Callable[[], Sequence[str]]) -> None:
        """`peers` are those that are likely to have what the swarm has, the best first."""
        self._blobs = blobs
        self._download = download
        self._peers = peers
        self._running: dict[Blob, asyncio.Task[Path]] = {}

    async def fetch(self, blob: Blob, sources: Sequence[str]) -> Path:
        """Return the file that holds the blob, preferably from `sources`. Raises Unavailable."""
        if not self._blobs.has(blob.sha256):
            await asyncio.shield(self._running.get(blob) or self._start(blob, sources))
        size = self._blobs.size(blob.sha256)
        if size != blob.size:
            raise Unavailable(f"{blob.sha256.hex()[:16]} has {size} bytes where {blob.size} are claimed")
        return self._blobs.path(blob.sha256)

    def _start(self, blob: Blob, sources: Sequence[str]) -> asyncio.Task[Path]:
        task = asyncio.create_task(self._fetch(blob, sources), name=f"fetch {blob.sha256.hex()[:8]}")
        self._running[blob] = task
        task.add_done_callback(lambda done: self._ended(blob, done))
        return task

    def _ended(self, blob: Blob, task: asyncio.Task[Path]) -> None:
        self._running.pop(blob, None)
        if not task.cancelled():
            task.exception()  # whoever waits has it; nobody may be waiting any more

    async def _fetch(self, blob: Blob, sources: Sequence[str]) -> Path:
        peers = list(dict.fromkeys([*sources, *self._peers()]))
        try:
            return await self._download(blob.sha256, blob.size, peers)
        except NetworkError as error:
            raise Unavailable(f"blob {blob.sha256.hex()[:16]}: {error}") from error

    async def close(self) -> None:
        """Stop all downloads; what they got so far is kept."""
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
