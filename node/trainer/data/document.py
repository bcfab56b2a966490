"""What a source yields, and where its files may lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import WorkerError


@dataclass(frozen=True)
class Document:
    """A piece of text that is held out, or trained on, as a whole. `key` decides which."""

    key: bytes
    text: bytes


def inside(folder: Path, path: str) -> Path:
    """Return `folder`/`path`. An event's path cannot lead out of the volunteer's data folder: WorkerError("bad_data")."""
    relative = Path(path)
    if not path or relative.is_absolute() or ".." in relative.parts:
        raise WorkerError("bad_data", f"data.path {path[:80]!r} is not a relative path inside the data folder")
    return folder / relative
