"""What each kind of name needs, and how it lands: by compare-and-set, in one transaction, whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from ...protocol.errors import RemoteProtocolError
from ...protocol.messages import Signed
from ...protocol.module import SignedPackage
from ...protocol.proposal import open_proposal
from ...protocol.record import sha256
from ...protocol.refs import SignedTag, ancestors, tag_name
from ...protocol.remote import RECORD_LIMITS, RELEASES, FileList, Target
from ..errors import UserError
from ..failpoints import failpoint
from ..history.graph import StoreGraph
from ..store import RefMoved
from .place import Place
from .published import record
from .receive import Receiver


class Newer(UserError):
    """What is here is newer than what came."""


@dataclass(frozen=True)
class Arrived:
    """What a name needs is here: the commit that it points at, for a branch or a tag, and its record, if it has one."""

    target: bytes
    commit: bytes | None = None
    record: bytes | None = None
    tag: SignedTag | None = None


async def bring(receiver: Receiver, name: str, target: Target) -> Arrived:
    """Bring what a published name needs. Raises what the source raises, and RemoteProtocolError for what is wrong."""
    if not target.record:
        if not name.startswith(("heads/", "tags/")):
            raise RemoteProtocolError("malformed", f"{name} points at a commit")
        await receiver.version(target.blob.sha256)
        return Arrived(target.blob.sha256, commit=target.blob.sha256)
    kind = name.partition("/")[0]
    if kind not in _RECORDS:
        raise RemoteProtocolError("malformed", f"{name} points at a record")
    data = await receiver.source.record(name, target)
    if sha256(data) != target.blob.sha256:
        raise RemoteProtocolError("wrong_bytes", f"the record of {name} has another hash")
    return await _RECORDS[kind](receiver, name, data)


async def _tag(receiver: Receiver, name: str, data: bytes) -> Arrived:
    signed = SignedTag.decode(data)
    tag = signed.open()
    if tag.event != receiver.place.event.digest or tag_name(tag.name) != name:
        raise RemoteProtocolError("malformed", f"the annotation of {name} is of another tag")
    await receiver.version(tag.commit)
    return Arrived(sha256(data), tag.commit, data, signed)


async def _proposal(receiver: Receiver, name: str, data: bytes) -> Arrived:
    signed = Signed.decode(data)
    _, proposal = open_proposal(data)
    if proposal.event != receiver.place.event.digest:
        raise RemoteProtocolError("wrong_event", name)
    if name != f"proposals/{signed.digest.hex()}":
        raise RemoteProtocolError("malformed", f"{name} is another proposal")
    await receiver.commit(proposal.base)
    await receiver.blobs(proposal.blobs())
    return Arrived(sha256(data), record=data)


async def _releases(receiver: Receiver, name: str, data: bytes) -> Arrived:
    from ..releases.files import check_sizes

    listed = FileList.decode(data, RECORD_LIMITS)
    check_sizes({file.path: file.blob.size for file in listed.files})
    await receiver.blobs(file.blob for file in listed.files)
    with suppress(RemoteProtocolError):  # they say who signs; who tells no good ones has none to go by
        await receiver.amendments()
    return Arrived(sha256(data), record=data)


async def _module(receiver: Receiver, name: str, data: bytes) -> Arrived:
    package = SignedPackage.read(data).open()
    if name != f"modules/{package.module.name}/{package.module.version}":
        raise RemoteProtocolError("malformed", f"{name} is another package")
    await receiver.blobs(file.blob for file in package.files if file.blob is not None)
    return Arrived(sha256(data), record=data)


_RECORDS = {"tags": _tag, "proposals": _proposal, RELEASES: _releases, "modules": _module}


def land(place: Place, name: str, arrived: Arrived, expected: bytes | None, *, force: bool = False) -> None:
    """Let `name` point at what has arrived, if it is at `expected` now (None: not there). Raises RefMoved, UserError.

    `expected` is what `published` tells: a commit, or the hash of a record. A branch moves only forwards and a tag not at all,
    unless `force`; the other kinds never go back: a proposal and a package are never replaced, releases never roll back.
    """
    with place.store.transaction():
        now = current(place, name)
        if now == arrived.target:
            return
        if now != expected:
            raise RefMoved(f"{name} moved meanwhile", "fetch first, and look at it again")
        if arrived.commit is not None:
            _check_move(place, name, arrived.commit, force=force)
            place.store.refs.update(name, arrived.commit, place.store.refs.get(name), arrived.tag)
        elif arrived.record is not None:
            _KEEP[name.partition("/")[0]](place, arrived.record)
        failpoint("remote-landing")


def delete(place: Place, name: str, expected: bytes | None) -> None:
    """Delete a branch or a tag, if it is at `expected` now. Raises RefMoved, UserError."""
    if not name.startswith(("heads/", "tags/")):
        raise UserError(f"{name} cannot be deleted: only branches and tags can")
    with place.store.transaction():
        if (now := current(place, name)) is None:
            return
        if now != expected:
            raise RefMoved(f"{name} moved meanwhile", "fetch first, and look at it again")
        place.store.refs.update(name, None, place.store.refs.get(name))


def current(place: Place, name: str) -> bytes | None:
    """Return what `name` points at here, as it is published; None if there is no such name."""
    if name.startswith(("heads/", "remotes/")):
        return place.store.refs.get(name)
    found = record(place.store, place.packages, name)
    return sha256(found) if found is not None else place.store.refs.get(name)


def descends(place: Place, older: bytes, newer: bytes) -> bool:
    """Say whether `newer`, which is here, is `older` or has it among its ancestors."""
    return older in ancestors(StoreGraph(place.store), [newer])


def _check_move(place: Place, name: str, commit: bytes, *, force: bool) -> None:
    now = place.store.refs.get(name)
    if now is None or force or name.startswith("remotes/"):
        return
    if name.startswith("tags/"):
        raise UserError(f"{name} is already there, and a tag does not move", "--force moves it all the same")
    if not descends(place, now, commit):
        raise UserError(f"{name} would lose commits: the new one does not descend from it", "fetch first, or --force")


def _keep_proposal(place: Place, data: bytes) -> None:
    place.store.proposals.add(Signed.decode(data))


def _keep_package(place: Place, data: bytes) -> None:
    place.packages.add(SignedPackage.read(data))


def _keep_releases(place: Place, data: bytes) -> None:
    """Keep the releases' files if the maintainers signed them and nothing rolls back. Raises UserError."""
    from ..releases.publish import Desk

    files = {}
    for file in FileList.decode(data, RECORD_LIMITS).files:
        found = place.store.blobs.read(file.blob.sha256)
        if found is None or sha256(found) != file.blob.sha256:
            raise UserError(f"the store lost {file.path} of the releases", "fetch again")
        files[file.path] = found
    desk = Desk(place.folder, place.event, place.store)
    ours = desk.files()
    if _stamp(ours) > _stamp(files):
        raise Newer("the releases there are newer than these", "fetch them first")
    desk.keep(files, ours)


def _stamp(files: Mapping[str, bytes]) -> int:
    """Return the version of the timestamp among releases' files, signed or not; 0 where there is none."""
    try:
        return int(json.loads(files.get("timestamp.json", b"{}"))["signed"]["version"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return 0


_KEEP: dict[str, Callable[[Place, bytes], None]] = {
    "proposals": _keep_proposal, RELEASES: _keep_releases, "modules": _keep_package,
}  # fmt: skip
