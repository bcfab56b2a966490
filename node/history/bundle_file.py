"""Reading a bundle's bytes (see `protocol.bundle`): every length is compared with the file before anything is read for it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ...protocol.bundle import (
    BLOB_HEADER_BYTES,
    CHECKSUM_BYTES,
    HEADER_BYTES,
    LENGTH_BYTES,
    MAGIC,
    BundledBlob,
    BundleHeader,
)
from ...protocol.canonical import DOCUMENT_LIMITS, Limits
from ...protocol.errors import RemoteProtocolError
from ..errors import UserError

_CHUNK = 1 << 20
_HEADER_LIMITS = Limits(size=HEADER_BYTES, items=64 * 1024)


class BundleFile:
    """An open bundle. Read the header, then the commits, then the blobs; `check` before anything is believed."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path = path
        self._file = file
        self._end = path.stat().st_size - CHECKSUM_BYTES

    def check(self) -> None:
        """Read the whole file for its structure and its checksum, and keep nothing of it. Raises UserError."""
        header = self.header()
        for _ in self.commits(header):
            pass
        for blob in self.blobs(header):
            self.skip(blob)
        if self._file.tell() != self._end:
            raise self._wrong("goes on after its end")
        self._file.seek(0)
        digest, left = hashlib.sha256(), self._end
        while left:
            chunk = self._take(min(_CHUNK, left))
            digest.update(chunk)
            left -= len(chunk)
        if self._file.read(CHECKSUM_BYTES) != digest.digest():
            raise self._wrong("is damaged: its checksum is another")

    def header(self) -> BundleHeader:
        """Return the header, from the beginning of the file. Raises UserError."""
        self._file.seek(0)
        if self._file.read(len(MAGIC)) != MAGIC:
            raise UserError(f"{self.path} is no bundle, or of another version of collab-node")
        with self.errors():
            return BundleHeader.decode(self._record(HEADER_BYTES), _HEADER_LIMITS)

    def commits(self, header: BundleHeader) -> Iterator[tuple[bytes, bytes]]:
        """Yield the bytes of each commit and of its certificate (none: empty), none of which was looked at."""
        for _ in range(header.commits):
            yield self._record(DOCUMENT_LIMITS.size), self._record(DOCUMENT_LIMITS.size)

    def blobs(self, header: BundleHeader) -> Iterator[BundledBlob]:
        """Yield what is said of each blob. The caller takes its bytes, by `save` or `skip`, before the next."""
        for _ in range(header.blobs):
            with self.errors():
                blob = BundledBlob.decode(self._record(BLOB_HEADER_BYTES))
            if blob.size > self._end - self._file.tell():
                raise self._wrong("is cut off")
            yield blob

    def commit_places(self, header: BundleHeader) -> Iterator[tuple[int, bytes, bytes]]:
        """Yield what `commits` does, each with where in the file it begins."""
        for _ in range(header.commits):
            at = self._file.tell()
            yield at, self._record(DOCUMENT_LIMITS.size), self._record(DOCUMENT_LIMITS.size)

    def commit_at(self, at: int) -> tuple[bytes, bytes]:
        """Return the bytes of the commit that begins there, and of its certificate."""
        self._file.seek(at)
        return self._record(DOCUMENT_LIMITS.size), self._record(DOCUMENT_LIMITS.size)

    def places(self, header: BundleHeader) -> Iterator[tuple[bytes, tuple[int, BundledBlob]]]:
        """Yield for each blob its digest, and where in the file its bytes begin. Comes after the commits."""
        for blob in self.blobs(header):
            yield blob.sha256, (self._file.tell(), blob)
            self.skip(blob)

    def save_from(self, at: int, blob: BundledBlob, path: Path) -> None:
        """Write the bytes of a blob that begins there to `path`."""
        self._file.seek(at)
        self.save(blob, path)

    def skip(self, blob: BundledBlob) -> None:
        """Pass over a blob's bytes."""
        self._file.seek(blob.size, 1)

    def save(self, blob: BundledBlob, path: Path) -> None:
        """Write a blob's bytes to `path`."""
        left = blob.size
        with path.open("wb") as out:
            while left:
                chunk = self._take(min(_CHUNK, left))
                out.write(chunk)
                left -= len(chunk)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn what the protocol does not allow into a UserError that names the file."""
        try:
            yield
        except RemoteProtocolError as error:
            raise self._wrong(f"holds what cannot be: {error}") from error

    def _record(self, most: int) -> bytes:
        length = int.from_bytes(self._take(LENGTH_BYTES), "big")
        if length > most:
            raise self._wrong(f"is damaged: a record of {length} bytes where {most} are allowed")
        return self._take(length)

    def _take(self, size: int) -> bytes:
        if size > self._end - self._file.tell():
            raise self._wrong("is cut off")
        return self._file.read(size)

    def _wrong(self, what: str) -> UserError:
        return UserError(f"{self.path} {what}", "get it again from where it came from; nothing was taken from it")


@contextmanager
def open_bundle(path: Path) -> Iterator[BundleFile]:
    """Open the bundle at `path`. Raises UserError."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    with file:
        yield BundleFile(path, file)
