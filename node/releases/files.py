"""The files of an event's releases: The Update Framework's metadata (JSON) and the release records, as blobs of the store.

A note of the store names them: the names are those of a directory that any client of The Update Framework reads.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from ...protocol.canonical import DOCUMENT_LIMITS, decode, encode
from ...protocol.record import sha256
from ..errors import UserError, disk_errors
from ..files import atomic_write
from ..store import Store

NOTE = "releases"
PENDING_ROOT = "pending.root.json"
PENDING_TARGETS = "pending.targets.json"
TARGETS = "releases"
_MOST_FILES = 10_000
_NAME = re.compile(
    r"(?:[0-9]{1,9}\.(?:root|snapshot|targets)|timestamp|pending\.(?:root|targets))\.json|releases/[0-9a-f]{64}\.[0-9.]+"
)
_MOST_BYTES = 8 * 1024 * 1024

Files = dict[str, bytes]


def blobs_named(store: Store) -> dict[str, bytes]:
    """Return the digests of the files' blobs, by name."""
    note = store.note(NOTE)
    named = {} if note is None else decode(note, DOCUMENT_LIMITS)
    assert isinstance(named, dict)
    return {name: digest for name, digest in named.items() if isinstance(digest, bytes)}


def load(store: Store) -> Files:
    """Return the files' bytes, by name. Raises UserError if the store lost one."""
    found: Files = {}
    for name, digest in blobs_named(store).items():
        data = store.blobs.read(digest)
        if data is None or sha256(data) != digest:
            raise UserError(f"the store lost {name} of the releases", "`collab-node releases pull DIR` from another maintainer")
        found[name] = data
    return found


def save(store: Store, files: Mapping[str, bytes], before: Mapping[str, bytes]) -> None:
    """Keep `files` in place of `before`, all or none. Raises UserError if somebody else changed them meanwhile."""
    named = {name: store.blobs.put_bytes(data) for name, data in files.items()}
    expected = {name: sha256(data) for name, data in before.items()}
    with store.transaction():
        if blobs_named(store) != expected:
            raise UserError("the releases changed meanwhile", "look at them again, and repeat")
        store.put_note(NOTE, encode(named))


def check_sizes(sizes: Mapping[str, int]) -> None:
    """Raise UserError for names and sizes (in bytes) that the files of releases cannot have."""
    for name, size in sizes.items():
        if not _NAME.fullmatch(name) or size > _MOST_BYTES:
            raise UserError(f"{name[:80]!r} of {size} bytes is no file of releases")


def read_folder(folder: Path) -> Files:
    """Return the files of a directory that `write_folder` made; sizes are limited before anything is read. Raises UserError."""
    if not any((folder / name).is_file() for name in ("timestamp.json", "1.root.json", PENDING_ROOT)):
        raise UserError(f"{folder} holds no releases", "`collab-node releases push DIR` writes such a directory")
    found: Files = {}
    with disk_errors(folder):
        paths = [path for place in (folder, folder / TARGETS) if place.is_dir() for path in place.iterdir() if path.is_file()]
        paths = [path for path in paths if _NAME.fullmatch(path.relative_to(folder).as_posix())]
        if len(paths) > _MOST_FILES:
            raise UserError(f"{folder} holds more than {_MOST_FILES} files")
        for path in paths:
            if path.stat().st_size > _MOST_BYTES:
                raise UserError(f"{path} is too large for what it is")
            found[path.relative_to(folder).as_posix()] = path.read_bytes()
    return found


def write_folder(files: Mapping[str, bytes], folder: Path) -> None:
    """Write the files into `folder`, the timestamp last: whoever reads meanwhile finds the old ones or the new ones."""
    for name in sorted(files, key=lambda name: (name == "timestamp.json", name)):
        atomic_write(folder / name, files[name])
    for name in {PENDING_ROOT, PENDING_TARGETS} - files.keys():
        (folder / name).unlink(missing_ok=True)
