"""What the network tests share: a folder as blob store, small networks on loopback, a wait for a condition."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

from collab.node.net.network import Network, NetworkCallbacks, NetworkOptions
from collab.protocol.identity import Identity
from collab.protocol.messages import Goodbye, Signed

EVENT = hashlib.sha256(b"event").digest()


class FolderStore:
    """A BlobSource and BlobSink over one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def open(self, digest: bytes) -> tuple[Path | memoryview, int] | None:
        path = self.folder / digest.hex()
        return (path, path.stat().st_size) if path.exists() else None

    def partial_path(self, digest: bytes) -> Path:
        return self.folder / f"{digest.hex()}.part"

    def commit(self, digest: bytes, path: Path) -> Path:
        final = self.folder / digest.hex()
        os.replace(path, final)
        return final

    def put(self, data: bytes, *, name: bytes | None = None) -> bytes:
        """Store `data` under its digest, or under another one to play a liar."""
        digest = name or hashlib.sha256(data).digest()
        (self.folder / digest.hex()).write_bytes(data)
        return digest


def network(
    home: Path, bootstrap: tuple[str, ...] = (), callbacks: NetworkCallbacks | None = None, **options: object
) -> tuple[Network, FolderStore]:
    """Return a network on loopback, not started, and its store."""
    home.mkdir(parents=True, exist_ok=True)
    store = FolderStore(home / "blobs")
    settings = NetworkOptions(
        home=home, host="127.0.0.1", bootstrap=bootstrap, discover_seconds=0.3, **options  # type: ignore[arg-type]
    )
    return Network(Identity.generate(), settings, EVENT, store, store, callbacks), store


def envelope(identity: Identity, number: int = 0) -> bytes:
    """Return a small signed message that differs for every number."""
    return Signed.seal(identity, Goodbye(event=EVENT, base=bytes(32), round=number)).encode()


async def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until `condition` holds; TimeoutError after `seconds`."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  # it is about other processes
            await asyncio.sleep(0.02)


async def until_async(condition: Callable[[], Awaitable[bool]], seconds: float = 60.0) -> None:
    """Wait until `await condition()` is true; TimeoutError after `seconds`."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
