"""Hugging Face `datasets`, streamed: nothing but what is read is downloaded. Needs the extra `datasets`."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ....protocol.canonical import Value
from ....protocol.event import Data
from ..errors import WorkerError
from .document import Document, inside

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


@dataclass(frozen=True)
class HuggingFaceDataset:
    """A data set of the hub, or one stored in the volunteer's data folder under the same path, which is preferred."""

    location: str
    local: bool
    name: str
    split: str
    field: str

    @classmethod
    def of(cls, data: Data, folder: Path) -> HuggingFaceDataset:
        """Return the event's data set. Raises WorkerError("bad_data") for a path that is neither."""
        stored = inside(folder, data.path)
        if not stored.is_dir():
            # `datasets` would take such a path for a local one, and read files of the volunteer that the event has no part in.
            if not _HUB_ID.fullmatch(data.path) or ".." in data.path or os.path.exists(data.path):
                raise WorkerError("bad_data", f"data.path {data.path[:80]!r} is not the name of a data set")
            return cls(data.path, False, data.name, data.split, data.field)
        return cls(str(stored), True, data.name, data.split, data.field)

    def fingerprint(self) -> Value:
        files: list[tuple[str, int, int]] = []
        if self.local:
            stats = [(str(path), path.stat()) for path in sorted(Path(self.location).rglob("*")) if path.is_file()]
            files = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]
        return ("huggingface", self.location, self.name, self.split, self.field, tuple(files))

    def documents(self) -> Iterator[Document]:
        try:
            from datasets import load_dataset
        except ImportError as error:
            text = "this event's data needs datasets: pip install 'collab-node[datasets]'"
            raise WorkerError("missing_extra", text) from error
        try:
            for row in load_dataset(self.location, self.name or None, split=self.split, streaming=True):
                content = self._text(row)
                yield Document(hashlib.sha256(content).digest(), content)
        except WorkerError:
            raise
        except Exception as error:  # datasets, the hub's client and the file formats each raise errors of their own
            reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            raise WorkerError("no_data", f"cannot read data set {self.location!r}: {reason}") from error

    def _text(self, row: dict[str, object]) -> bytes:
        text = row.get(self.field)
        if not isinstance(text, str):
            raise WorkerError("bad_data", f"data set {self.location!r} has no text in field {self.field!r}")
        return text.encode(errors="replace")
