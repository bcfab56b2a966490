"""Content-addressed blobs: `blobs/ab/cdef…` holds the bytes whose SHA-256 is `abcdef…`.

A blob's name appears only once its bytes are whole and on the disk, so whoever finds one may trust it. Downloads grow in
`partial/` and survive a restart.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ..errors import disk_errors
from ..files import atomic_write, make_folder, move, remove_temporaries, sync

_IDLE_SECONDS = 600.0  # more than a peer may take for any part
_MOST_UNFINISHED_BYTES = 1 << 30
_LEAST_COUNTED = 1 << 20  # so that there are not too many files either


class BlobMismatch(ValueError):
    """The bytes do not have the digest that they were announced with."""


class Blobs:
    """The blobs under one folder. Calls block for as long as the disk takes; those that hash a large file have an async twin."""

    def __init__(self, folder: Path) -> None:
        self._blobs = folder / "blobs"
        self._partial = folder / "partial"

    def prepare(self) -> None:
        """Make the folders, and drop what a killed process left half-written. For the one writer alone."""
        with disk_errors(self._blobs):
            make_folder(self._blobs)
            make_folder(self._partial)
            remove_temporaries(self._blobs)

    def path(self, digest: bytes) -> Path:
        """Return where the blob is, or would be."""
        name = digest.hex()
        return self._blobs / name[:2] / name[2:]

    def has(self, digest: bytes) -> bool:
        """Say whether the blob is here."""
        return self.path(digest).is_file()

    def size(self, digest: bytes) -> int | None:
        """Return the blob's size in bytes, None if it is not here."""
        try:
            return self.path(digest).stat().st_size
        except FileNotFoundError:
            return None

    def open(self, digest: bytes) -> tuple[Path, int] | None:
        """Return the blob's path and size for whoever serves it, None if it is not here."""
        size = self.size(digest)
        return None if size is None else (self.path(digest), size)

    def read(self, digest: bytes) -> bytes | None:
        """Return the blob's bytes, None if it is not here."""
        try:
            return self.path(digest).read_bytes()
        except FileNotFoundError:
            return None

    def put_bytes(self, data: bytes | memoryview) -> bytes:
        """Keep `data` and return its digest. Raises StoreFull."""
        digest = hashlib.sha256(data).digest()
        if not self.has(digest):
            atomic_write(self.path(digest), data)
        return digest

    def put_file(self, path: Path, digest: bytes) -> Path:
        """Move the file at `path`, which is on the same file system, into the store.

        Raises BlobMismatch, and leaves the file alone, if its digest is another; StoreFull when the disk is full.
        """
        if (found := file_digest(path)) != digest:
            raise BlobMismatch(f"{path.name} is {found.hex()[:16]}, not {digest.hex()[:16]}")
        target = self.path(digest)
        with disk_errors(self._blobs):
            make_folder(target.parent)
            sync(path)
            move(path, target)
        return target

    async def put_file_async(self, path: Path, digest: bytes) -> Path:
        """Do what `put_file` does, in a thread."""
        return await asyncio.to_thread(self.put_file, path, digest)

    def partial_path(self, digest: bytes) -> Path:
        """Return where a download of the blob grows. It may hold the bytes of an earlier attempt."""
        self._make_room()
        return self._partial / digest.hex()

    def _make_room(self) -> None:
        """Drop the oldest downloads that nobody goes on with, if they are too much: a stranger can begin any number of them."""
        files = list(self._unfinished())
        total = sum(_counted(status) for _, status in files)
        idle = [(path, status) for path, status in files if time.time() - status.st_mtime > _IDLE_SECONDS]
        for path, status in sorted(idle, key=lambda each: each[1].st_mtime):
            if total <= _MOST_UNFINISHED_BYTES:
                return
            path.unlink(missing_ok=True)
            total -= _counted(status)

    def _unfinished(self) -> Iterator[tuple[Path, os.stat_result]]:
        if not self._partial.is_dir():
            return
        for path in list(self._partial.iterdir()):
            with suppress(FileNotFoundError):  # another thread ended its download meanwhile
                yield path, path.stat()

    def commit_partial(self, digest: bytes, path: Path) -> Path:
        """Make a complete download a blob and return its path. Raises BlobMismatch, and removes the download, if it is not it."""
        try:
            return self.put_file(path, digest)
        except BlobMismatch:
            path.unlink(missing_ok=True)
            raise

    commit = commit_partial

    def delete(self, digest: bytes) -> int:
        """Remove the blob if it is here, and return how many bytes that gave back."""
        size = self.size(digest) or 0
        self.path(digest).unlink(missing_ok=True)
        return size

    def digests(self) -> Iterator[bytes]:
        """Yield the digests of all blobs, in no order."""
        for folder in os.scandir(self._blobs):
            for entry in os.scandir(folder.path):
                if not entry.name.startswith("."):
                    yield bytes.fromhex(folder.name + entry.name)


def _counted(status: os.stat_result) -> int:
    return max(status.st_blocks * 512, _LEAST_COUNTED)


def file_digest(path: Path) -> bytes:
    """Return the SHA-256 of the file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
