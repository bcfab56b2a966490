"""Files that are there whole or not at all: written under a temporary name, synced, renamed, and the folder synced."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import disk_errors

TEMPORARY_SUFFIX = ".tmp"


def atomic_write(path: Path, data: bytes | memoryview, mode: int = 0o644) -> None:
    """Write `data` to `path`. Raises UserError (StoreFull when the disk is full) and leaves no trace then."""
    with replacing(path) as temporary:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`; when the block ends well, sync what it wrote there and rename it to `path`.

    Raises UserError when the disk is full or the place cannot be written.
    """
    with disk_errors(path.parent):
        make_folder(path.parent)
        temporary = temporary_name(path)
        try:
            yield temporary
            sync(temporary)
            move(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def write_private(path: Path, data: bytes) -> None:
    """Write `data` to a file that must not exist yet, readable by its owner alone from the first moment. Raises UserError."""
    with disk_errors(path.parent):
        make_folder(path.parent)
        temporary = temporary_name(path)
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            sync(temporary)
            # Unlike a rename, a link never replaces: of two processes that write at once, one finds the other's.
            os.link(temporary, path)
            sync(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def temporary_name(path: Path) -> Path:
    """Return a free name beside `path` that no other process uses."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY_SUFFIX}")
    # In a container every run has the same process id, and the last one may have been killed at work.
    temporary.unlink(missing_ok=True)
    return temporary


def move(source: Path, target: Path) -> None:
    """Rename within one file system, durably."""
    os.replace(source, target)
    sync(target.parent)


def sync(path: Path) -> None:
    """Wait until the file or folder at `path` is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(path: Path, mode: int = 0o755) -> None:
    """Make a folder and its parents, each one's name durable in its own parent."""
    if path.is_dir():
        return
    make_folder(path.parent, mode)
    path.mkdir(mode=mode, exist_ok=True)
    sync(path.parent)


def remove_temporaries(folder: Path) -> None:
    """Remove what a killed process left behind. Only whoever holds the home's lock may call this."""
    for path in folder.rglob(f".*{TEMPORARY_SUFFIX}"):
        path.unlink(missing_ok=True)


def is_running(pid: str) -> bool:
    """Say whether another process has this id: a folder of a killed one is nobody's."""
    if not pid.isdecimal() or int(pid) == os.getpid():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # somebody else's process is a process
    return True
