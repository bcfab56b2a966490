"""Where documents come from. A source is one class in one list; which one, and its settings, stand in the event."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from ....protocol.canonical import Value
from ....protocol.event import Data
from .document import Document


class Source(Protocol):
    """Documents in an order that is the same every time."""

    def fingerprint(self) -> Value:
        """Return what changes when the documents do, found without reading them all."""

    def documents(self) -> Iterator[Document]:
        """Yield the documents, reading as it goes."""


def open_source(data: Data, folder: Path) -> Source:
    """Return the event's source; `folder` is the volunteer's data folder. Raises WorkerError."""
    # Imported where they are needed: pyarrow and datasets are optional, and slow to import.
    match data.source:
        case "stdlib":
            from .stdlib import StandardLibrary

            return StandardLibrary.here(shuffled=data.max_bytes > 0)
        case "text" | "jsonl" | "parquet":
            from .local import LocalFiles

            return LocalFiles.of(data, folder)
        case "huggingface":
            from .huggingface import HuggingFaceDataset

            return HuggingFaceDataset.of(data, folder)
