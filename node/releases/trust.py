"""Believing releases: the client workflow of The Update Framework (python-tuf's `Updater`) over files that are at hand.

It begins with the first root of those who sign for the event now: the event appoints them, or the newest amendment that changes
its coordinators does. It follows the roots, each signed by the threshold of the one before; and remembers in a folder what it has
seen, so that no version ever rolls back. What is signed too long ago is refused as stale. While the newest signers have no root
yet, those before them are believed: in what they signed of commits made while they still did, which the caller checks.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tuf.api.exceptions import DownloadError, DownloadHTTPError, ExpiredMetadataError, RepositoryError
from tuf.api.metadata import Metadata, Root, Snapshot, Targets
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

from ...protocol.amendments import Signers
from ...protocol.errors import LocalProtocolError, RemoteProtocolError
from ...protocol.release import MAX_RELEASE_BYTES, Release, decode_release
from ...protocol.versions import Version
from ..errors import UserError, disk_errors
from ..files import make_folder
from .files import TARGETS, Files
from .signing import appointment, is_appointed, key_of

_ROOT = re.compile(r"([0-9]{1,9})\.root\.json")
_BASE = "files:"


def trusted_releases(
    files: Mapping[str, bytes], event: bytes, signers: Sequence[Signers], memory: Path
) -> tuple[list[Release], Signers]:
    """Return the releases that `files` prove, the newest version first, and which of `signers` vouch for them. Raises UserError.

    `signers` are those who signed for the event in turn, as far as this node knows; the last still do. `memory` is the folder in
    which this node remembers what it trusted before.
    """
    logging.getLogger("tuf").setLevel(logging.CRITICAL)
    with disk_errors(memory):
        make_folder(memory)
    if not _remembered(memory) and not any(map(_ROOT.fullmatch, files)):
        return [], signers[-1]  # what is pending proves nothing
    try:
        vouching, first = _beginning(files, signers, memory)
        updater = Updater(
            str(memory), f"{_BASE}/", None, f"{_BASE}/", _Shelf(files),
            UpdaterConfig(targets_max_length=5_000_000, snapshot_max_length=64_000), bootstrap=first,
        )  # fmt: skip
        updater.refresh()
        return _releases(memory / f"{Targets.type}.json", files, event), vouching
    except ExpiredMetadataError as error:
        hint = "a maintainer runs `collab-node releases renew`; then fetch them anew"
        raise UserError(f"these releases are stale: {error}", hint) from error
    except (RepositoryError, DownloadError, RemoteProtocolError, LocalProtocolError, ValueError) as error:
        raise UserError(f"these releases are not to be trusted: {error}", _why(files, signers)) from error


def _why(files: Mapping[str, bytes], signers: Sequence[Signers]) -> str:
    """Return what may be the reason that releases are not trusted, as far as amendments are."""
    try:
        newest = max((int(match[1]), files[name]) for name in files if (match := _ROOT.fullmatch(name)))
        fields = Metadata[Root].from_bytes(newest[1]).signed.unrecognized_fields
    except (ValueError, RepositoryError):
        return ""
    signed_by = [each for each in signers if appointment(each) == fields]
    if not signed_by:
        return "an amendment that is not known here may have changed who signs: let the node catch up first"
    return "" if signed_by == [signers[-1]] else "the coordinators have changed, and those before sign no more"


def _beginning(files: Mapping[str, bytes], signers: Sequence[Signers], memory: Path) -> tuple[Signers, bytes]:
    """Return the newest of `signers` who have a root, and their first one. Raises RepositoryError if nobody has one.

    Of two with one number the one that this node remembers counts.
    """
    numbered = [(int(match[1]), files[name]) for name in files if (match := _ROOT.fullmatch(name))]
    roots = [data for _, data in sorted([*_remembered(memory), *numbered], key=lambda root: root[0])]
    for each in reversed(signers):
        for data in roots:
            if _is_first_root(data, each):
                return each, data
    raise RepositoryError("the first root is not by the event's coordinators")


def _remembered(memory: Path) -> list[tuple[int, bytes]]:
    paths = (memory / "root_history").glob("*.root.json")
    return [(int(match[1]), path.read_bytes()) for path in paths if (match := _ROOT.fullmatch(path.name))]


def _is_first_root(data: bytes, signers: Signers) -> bool:
    """Say whether this root names exactly these signers, as appointed when they were, and enough of them have signed it."""
    try:
        metadata = Metadata[Root].from_bytes(data)
    except RepositoryError:
        return False
    root = metadata.signed
    if not isinstance(root, Root) or not is_appointed(root, appointment(signers)):
        return False
    role = root.roles[Root.type]
    if (set(role.keyids), role.threshold) != (set(signers.keys), signers.threshold):
        return False
    if any(root.keys.get(peer) != key_of(peer) for peer in signers.keys):
        return False
    return bool(root.get_verification_result(Root.type, metadata.signed_bytes, metadata.signatures))


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
    kept = {name: data for name, data in files.items() if not name[0].isdecimal()}
    if not _remembered(memory):
        return kept
    for role in (Root.type, Snapshot.type, Targets.type):
        data = (memory / f"{role}.json").read_bytes()
        name = f"{Metadata.from_bytes(data).signed.version}.{role}.json"
        if files.get(name) != data:
            raise UserError(f"these releases are not to be trusted: their {role} is not the one that this node knows")
        kept[name] = data
    roots = {f"{number}.root.json": data for number, data in _remembered(memory)}
    return kept | {name: data for name, data in roots.items() if files.get(name) == data}


class _Shelf(FetcherInterface):
    """Gives the updater what is at hand."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files

    def _fetch(self, url: str) -> Iterator[bytes]:
        name = url.removeprefix(f"{_BASE}/")
        if name not in self._files:
            raise DownloadHTTPError(f"{name} is missing", 404)
        return iter([self._files[name]])
