"""The files of a store as they lie on the disk, whatever their names are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ..files import TEMPORARY_SUFFIX

_BLOB = re.compile(r"[0-9a-f]{64}")


def blob_files(path: Path) -> Iterator[tuple[Path, bytes | None]]:
    """Yield the files among the blobs of the store at `path`, sorted, each with the digest that its name is, if it is one."""
    folder = path / "blobs"
    for file in sorted(file for file in folder.rglob("*") if not file.is_dir()):
        name = file.relative_to(folder).as_posix()
        if file.name.startswith(".") and file.name.endswith(TEMPORARY_SUFFIX):
            continue
        plain = name.replace("/", "", 1)
        yield file, bytes.fromhex(plain) if name[2:3] == "/" and _BLOB.fullmatch(plain) else None


def leftovers(path: Path) -> list[Path]:
    """Return what killed processes left: temporary files among the blobs, and unfinished downloads."""
    temporary = (path / "blobs").rglob(f".*{TEMPORARY_SUFFIX}")
    partial = (path / "partial").iterdir() if (path / "partial").is_dir() else ()
    return sorted([*temporary, *partial])
