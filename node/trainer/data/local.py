"""Text, JSONL and Parquet files in the volunteer's data folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ....protocol.canonical import Value
from ....protocol.event import Data
from ..errors import WorkerError
from .document import Document, inside

_SUFFIXES = {"text": (".txt", ".md", ".text"), "jsonl": (".jsonl", ".ndjson"), "parquet": (".parquet",)}
_PARAGRAPH_BYTES = 1 << 16
_ROWS = 1024


@dataclass(frozen=True)
class LocalFiles:
    """One file, or all files of a kind below a folder, in the order of their names.

    A document is a paragraph of a text file (at most 64 KiB), a line's or a row's `field` otherwise. Its key is its content, so
    that a text that comes twice is not on both sides of the held-out split.
    """

    kind: str
    path: Path
    field: str

    @classmethod
    def of(cls, data: Data, folder: Path) -> LocalFiles:
        """Return the event's files. Raises WorkerError("no_data") where there are none."""
        files = cls(data.source, inside(folder, data.path), data.field)
        if not files._files():
            kinds = ", ".join(_SUFFIXES[data.source])
            hint = "put the event's data there, or name its folder with --data-dir"
            raise WorkerError("no_data", f"no {kinds} file at {files.path}: {hint}")
        return files

    def fingerprint(self) -> Value:
        stats = [(str(path), path.stat()) for path in self._files()]
        files = tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)
        return (self.kind, self.field, files)

    def documents(self) -> Iterator[Document]:
        for path in self._files():
            for text in self._texts(path):
                yield Document(hashlib.sha256(text).digest(), text)

    def _files(self) -> list[Path]:
        if self.path.is_file():
            return [self.path]
        return sorted(path for path in self.path.rglob("*") if path.suffix in _SUFFIXES[self.kind] and path.is_file())

    def _texts(self, path: Path) -> Iterator[bytes]:
        match self.kind:
            case "text":
                return paragraphs(path)
            case "jsonl":
                return _json_lines(path, self.field)
            case _:
                return _parquet_rows(path, self.field)


def paragraphs(path: Path) -> Iterator[bytes]:
    """Yield what stands between blank lines, cut at 64 KiB where there is no blank line for that long."""
    pending: list[bytes] = []
    size = 0
    with path.open("rb") as file:
        while line := file.readline(_PARAGRAPH_BYTES):
            pending.append(line)
            size += len(line)
            if (line.isspace() and size > len(line)) or size >= _PARAGRAPH_BYTES:
                yield b"".join(pending)
                pending, size = [], 0
    if pending:
        yield b"".join(pending)


def _json_lines(path: Path, field: str) -> Iterator[bytes]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.isspace():
                yield _text_of(_json(path, number, line), field, f"{path.name}, line {number}")


def _json(path: Path, number: int, line: bytes) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise WorkerError("bad_data", f"{path.name}, line {number} is not JSON") from error


def _text_of(row: Any, field: str, where: str) -> bytes:
    text = row.get(field) if isinstance(row, dict) else None
    if not isinstance(text, str):
        raise WorkerError("bad_data", f"{where} has no text in field {field!r}")
    return text.encode(errors="replace")


def _parquet_rows(path: Path, field: str) -> Iterator[bytes]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise WorkerError(
            "missing_extra", "this event's data needs pyarrow: pip install 'collab-node[parquet]'"
        ) from error
    try:
        with parquet.ParquetFile(path) as file:
            if field not in file.schema_arrow.names:
                raise WorkerError("bad_data", f"{path.name} has no column {field!r}")
            for rows in file.iter_batches(batch_size=_ROWS, columns=[field]):
                yield from (_text_of(row, field, path.name) for row in rows.to_pylist())
    except ArrowException as error:
        raise WorkerError("bad_data", f"{path.name} is not a readable Parquet file: {error}") from error
