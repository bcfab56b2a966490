"""Believing releases: the client workflow of The Update Framework (python-tuf's `Updater`) over files that are at hand.

It begins with the event's first root, which the event's coordinator has signed; follows the roots, each signed by the threshold
of the one before; and remembers in a folder what it has seen, so that no version ever rolls back. What is signed too long ago is
refused as stale.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

from tuf.api.exceptions import DownloadError, DownloadHTTPError, ExpiredMetadataError, RepositoryError
from tuf.api.metadata import Metadata, Root, Snapshot, Targets
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

from ...protocol.errors import LocalProtocolError, RemoteProtocolError
from ...protocol.release import MAX_RELEASE_BYTES, Release, decode_release
from ...protocol.versions import Version
from ..errors import UserError, disk_errors
from ..files import make_folder
from .files import TARGETS, Files
from .signing import key_of

_FIRST = "1.root.json"
_BASE = "files:"


def trusted_releases(files: Mapping[str, bytes], event: bytes, coordinator: str, memory: Path) -> list[Release]:
    """Return the releases that `files` prove, the newest version first. Raises UserError.

    `memory` is the folder in which this node remembers what it trusted before.
    """
    logging.getLogger("tuf").setLevel(logging.CRITICAL)
    with disk_errors(memory):
        make_folder(memory)
    try:
        first = _first_root(files, coordinator)
        updater = Updater(
            str(memory), f"{_BASE}/", None, f"{_BASE}/", _Shelf(files),
            UpdaterConfig(targets_max_length=5_000_000, snapshot_max_length=64_000), bootstrap=first,
        )  # fmt: skip
        updater.refresh()
        return _releases(memory / f"{Targets.type}.json", files, event)
    except ExpiredMetadataError as error:
        hint = "a maintainer runs `collab-node releases renew`; then fetch them anew"
        raise UserError(f"these releases are stale: {error}", hint) from error
    except (RepositoryError, DownloadError, RemoteProtocolError, LocalProtocolError, ValueError) as error:
        raise UserError(f"these releases are not to be trusted: {error}") from error


def _first_root(files: Mapping[str, bytes], coordinator: str) -> bytes:
    """Return the root that the event begins with. Raises RepositoryError unless the coordinator has signed it, alone."""
    data = files.get(_FIRST, b"")
    root = Metadata[Root].from_bytes(data)
    signature = root.signatures.get(coordinator)
    if not isinstance(root.signed, Root) or set(root.signed.roles[Root.type].keyids) != {coordinator} or signature is None:
        raise RepositoryError("the first root is not by the event's coordinator")
    key = root.signed.keys[coordinator]
    if key.keyval != key_of(coordinator).keyval:
        raise RepositoryError("the first root gives the coordinator another key")
    return data


def _releases(verified: Path, files: Mapping[str, bytes], event: bytes) -> list[Release]:
    """Return the releases of the targets that the updater has just verified and kept."""
    found = []
    for path, target in Metadata[Targets].from_file(str(verified)).signed.targets.items():
        if target.length > MAX_RELEASE_BYTES:
            raise RepositoryError(f"{path} is too large")
        version = path.removeprefix(f"{TARGETS}/")
        data = files.get(f"{TARGETS}/{target.hashes['sha256']}.{version}")
        if data is None:
            raise RepositoryError(f"{path} is missing")
        target.verify_length_and_hashes(data)
        release = decode_release(data)
        if release.version != version or release.event != event:
            raise RepositoryError(f"{path} is the record of another release")
        found.append(release)
    found.sort(key=lambda release: Version.parse(release.version))
    for last, release in zip([None, *found], found, strict=False):
        release.check_follows(last)
    return found[::-1]


def believed(files: Mapping[str, bytes], memory: Path) -> Files:
    """Return those of the files that `trusted_releases` has just verified with this memory, and what is pending.

    Raises UserError if the newest root among them is another one than the memory's.
    """
    versions = {}
    for role in (Root.type, Snapshot.type, Targets.type):
        data = (memory / f"{role}.json").read_bytes()
        versions[role] = Metadata.from_bytes(data).signed.version
        if files.get(f"{versions[role]}.{role}.json") != data:
            raise UserError(f"these releases are not to be trusted: their {role} is not the one that this node knows")
    kept = {name: data for name, data in files.items() if not name[0].isdecimal()}
    for role, newest in versions.items():
        oldest = 1 if role == Root.type else newest
        kept |= {name: files[name] for version in range(oldest, newest + 1) if (name := f"{version}.{role}.json") in files}
    return kept


class _Shelf(FetcherInterface):
    """Gives the updater what is at hand."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files

    def _fetch(self, url: str) -> Iterator[bytes]:
        name = url.removeprefix(f"{_BASE}/")
        if name not in self._files:
            raise DownloadHTTPError(f"{name} is missing", 404)
        return iter([self._files[name]])
