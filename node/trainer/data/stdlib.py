"""The embedded default: the Python standard library's own sources on this machine, about 30 MB of real text."""

from __future__ import annotations

import hashlib
import os
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ....protocol.canonical import Value
from .document import Document

_FOREIGN = {"site-packages", "dist-packages", "__pycache__"}


@dataclass(frozen=True)
class StandardLibrary:
    """All .py files below `root`, tests included, without installed packages; a document a file.

    Sorted by path, or, if `shuffled`, by the path's hash: then the first so many bytes are a fair sample of all.
    """

    root: Path
    shuffled: bool = False

    @classmethod
    def here(cls, shuffled: bool) -> StandardLibrary:
        """Return the library of the running interpreter."""
        return cls(Path(sysconfig.get_path("stdlib")), shuffled)

    def fingerprint(self) -> Value:
        version = ".".join(str(part) for part in sys.version_info[:3])
        return ("stdlib", version, str(self.root), tuple(self._files()))

    def documents(self) -> Iterator[Document]:
        for name, _ in self._files():
            yield Document(name.encode(), (self.root / name).read_bytes())

    def _files(self) -> list[tuple[str, int]]:
        found: list[tuple[str, int]] = []
        for folder, folders, files in os.walk(self.root):
            folders[:] = [name for name in folders if name not in _FOREIGN]
            paths = [Path(folder, name) for name in files if name.endswith(".py")]
            found += [(path.relative_to(self.root).as_posix(), path.stat().st_size) for path in paths]
        return sorted(found, key=_by_hash if self.shuffled else None)


def _by_hash(file: tuple[str, int]) -> bytes:
    return hashlib.sha256(b"order\0" + file[0].encode()).digest()
