"""What a store publishes: names, what they point at, and the records among that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from ...protocol.errors import RemoteProtocolError
from ...protocol.messages import Blob
from ...protocol.record import sha256
from ...protocol.remote import MAX_PUBLISHED, MAX_RECORD_BYTES, RELEASES, FileAt, FileList, Published, Target
from ..modules.index import Index
from ..releases.files import blobs_named
from ..store import Store


def published(store: Store, packages: Index) -> dict[str, Target]:
    """Return what there is, by name, sorted; of more than can be told, branches, tags and releases first."""
    found: dict[str, Target] = {}
    for name, commit in store.refs.all().items():
        if name.startswith(("heads/", "tags/")):
            size = store.blobs.size(commit) or 1  # one that was lost is told of, so that whoever wants it hears that it was
            found[name] = Target(blob=Blob(sha256=commit, size=size), record=False)
    for name, data in _records(store, packages):
        if 0 < len(data) <= MAX_RECORD_BYTES:
            found[name] = Target(blob=Blob(sha256=sha256(data), size=len(data)), record=True)
    return dict(sorted(list(found.items())[:MAX_PUBLISHED]))


def record(store: Store, packages: Index, name: str) -> bytes | None:
    """Return the record that the name, which is one that can be published, points at; None if it points at none."""
    kind, _, rest = name.partition("/")
    if kind == "tags":
        return _tag(store, name)
    if kind == RELEASES:
        return _release_files(store)
    if kind == "proposals":
        return store.proposals.envelope(bytes.fromhex(rest))
    return packages.record(*rest.split("/")) if kind == "modules" else None


def advertised(found: dict[str, Target]) -> tuple[Published, ...]:
    """Return names and targets as they are told."""
    return tuple(Published(name=name, target=target) for name, target in found.items())


def _records(store: Store, packages: Index) -> Iterator[tuple[str, bytes]]:
    named = ((name, record(store, packages, name)) for name in (*store.refs.all("tags/"), RELEASES))
    yield from ((name, data) for name, data in named if data is not None)
    for name, data in packages.records().items():
        yield f"modules/{name}", data
    for digest, envelope in store.proposals.envelopes().items():
        yield f"proposals/{digest.hex()}", envelope


def _tag(store: Store, name: str) -> bytes | None:
    with suppress(RemoteProtocolError):  # `fsck` tells of it
        tag = store.refs.tag(name)
        return None if tag is None else tag.encode()
    return None


def _release_files(store: Store) -> bytes | None:
    """Return the list of the releases' files; None if there are none, or one of them was lost."""
    named = blobs_named(store)
    sizes = {name: store.blobs.size(digest) for name, digest in named.items()}
    files = [FileAt(path=name, blob=Blob(sha256=named[name], size=size)) for name, size in sorted(sizes.items()) if size]
    return FileList(files=tuple(files)).encode() if named and len(files) == len(named) else None
