"""What `fetch` and `push` say to another node: which names it publishes, what they point at, and what is to become of them.

A name points at a commit (`heads/x`, `tags/x`) or at a record: an annotated tag (`tags/x`), a proposal (`proposals/ID`), a
package (`modules/NAME/VERSION`), or the list of the releases' files (`releases`). Commits and files move as blobs, by hash;
records are answered as they are. Whoever receives verifies all of it: a name says nothing that a signature or a hash does not.
"""

from __future__ import annotations

import re
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, Field, field_validator

from .canonical import Limits
from .commit import Certificate
from .exchange import SnapshotOffer
from .messages import Blob
from .module import MAX_PACKAGE_BYTES
from .record import Digest, Record
from .refs import MAIN, RefError, check_name
from .refs.names import MAX_NAME_BYTES

MAX_PUBLISHED = 4096
MAX_UPDATES = 256
MAX_HAVE = 64
MAX_RECORD_BYTES = 2 * MAX_PACKAGE_BYTES
MAX_REASON = 240
COMMITS_A_REPLY = 256
REFS_LIMITS = Limits(size=2 * 1024 * 1024, items=64 * 1024)
PATH_LIMITS = Limits(size=1024 * 1024, items=64 * 1024)
RECORD_LIMITS = Limits(size=MAX_RECORD_BYTES, items=256 * 1024)

RELEASES = "releases"
_PROPOSAL = re.compile(r"proposals/[0-9a-f]{64}")
_PACKAGE = re.compile(r"modules/[a-z0-9][a-z0-9_.-]{0,63}/[0-9]{1,9}\.[0-9]{1,9}\.[0-9]{1,9}")


def check_published(name: str) -> str:
    """Return `name` if something can be published under it. Raises ValueError."""
    if name.startswith(("heads/", "tags/")):
        try:
            return check_name(name)
        except RefError as error:
            raise ValueError(str(error)) from error
    if name == RELEASES or _PROPOSAL.fullmatch(name) or _PACKAGE.fullmatch(name):
        return name
    raise ValueError(f"nothing is published as {name[:60]!r}")


PublishedName: TypeAlias = Annotated[str, Field(max_length=MAX_NAME_BYTES + 16), AfterValidator(check_published)]


class Target(Record):
    """What a name points at: a commit, or (`record`) a signed record, by hash and size."""

    blob: Blob
    record: bool


class Published(Record):
    """A name that a node publishes."""

    name: PublishedName
    target: Target


class RefsRequest(Record):
    """What do you publish?"""

    event: Digest


class RefsReply(Record):
    """All of it, in the order of the names."""

    refs: Annotated[tuple[Published, ...], Field(max_length=MAX_PUBLISHED)]


class PathRequest(Record):
    """Give me the commits that lead to `tip` from the newest of those that I have."""

    event: Digest
    tip: Digest
    have: Annotated[tuple[Digest, ...], Field(max_length=MAX_HAVE)]


class PathReply(Record):
    """Commits oldest first, as blobs to fetch; the certificate proves the last, where a round made it."""

    commits: Annotated[tuple[Blob, ...], Field(max_length=COMMITS_A_REPLY)]
    certificate: Certificate | None
    more: bool


class StateRequest(Record):
    """Which is the newest whole state at or before `tip` that you have?"""

    event: Digest
    tip: Digest


class StateReply(Record):
    """That one, as a blob to fetch; None if there is none."""

    state: SnapshotOffer | None


class RecordRequest(Record):
    """Give me the record of this name, if it is still this one."""

    event: Digest
    name: PublishedName
    sha256: Digest


class FileAt(Record):
    """A file by its path, with slashes."""

    path: Annotated[str, Field(max_length=160)]
    blob: Blob


class FileList(Record):
    """Files in the order of their paths. What they say is signed; the list is not."""

    files: Annotated[tuple[FileAt, ...], Field(max_length=10_000)]

    @field_validator("files")
    @classmethod
    def _ordered(cls, files: tuple[FileAt, ...]) -> tuple[FileAt, ...]:
        paths = [file.path for file in files]
        if paths != sorted(set(paths)):
            raise ValueError("files are in the order of their paths, each once")
        return files


class Update(Record):
    """Let `name` point at `new` (None: delete it) if it points at `expected` now (None: if there is none).

    `force`: also where the new commit does not descend from the old one, or a tag is there.
    """

    name: PublishedName
    new: Target | None
    expected: Digest | None
    force: bool

    @field_validator("name")
    @classmethod
    def _is_not_main(cls, name: str) -> str:
        if name == MAIN:
            raise ValueError("main moves with the swarm's rounds")
        return name


class PushRequest(Record):
    """Take these from me; whatever you lack you fetch from me while I wait."""

    event: Digest
    updates: Annotated[tuple[Update, ...], Field(min_length=1, max_length=MAX_UPDATES)]


class PushReply(Record):
    """`done` False: I am still at it, ask again. `refused`: for each update why it was not made; empty where it was."""

    done: bool
    refused: Annotated[tuple[Annotated[str, Field(max_length=MAX_REASON)], ...], Field(max_length=MAX_UPDATES)]
