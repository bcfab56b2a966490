"""A bundle: a history in one file.

    "collab-bundle/1\\n"                  the format and its version
    length · BundleHeader                lengths are 4 bytes, big-endian; records are canonical
    length · commit                      `commits` times, no commit before its parents
    length · certificate                 after each commit; length 0 for one that has none
    length · BundledBlob · its bytes     `blobs` times
    SHA-256 of everything before         and nothing after it

The root is left out: it follows from the event. A bundle whose `needs` is not empty is thin: it only makes sense to whoever has
those commits.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from .amendments.chain import MAX_AMENDMENTS
from .record import Count, Digest, Record, later
from .refs.names import MAX_NAME_BYTES

MAGIC = b"collab-bundle/1\n"
LENGTH_BYTES = 4
CHECKSUM_BYTES = 32
HEADER_BYTES = 4 * 1024 * 1024
BLOB_HEADER_BYTES = 1024
MAX_REFS = 4096


class BundledRef(Record):
    """A ref other than the main branch, and the annotation of a tag that has one (a SignedTag)."""

    name: Annotated[str, Field(max_length=MAX_NAME_BYTES + 16)]
    commit: Digest
    tag: Annotated[bytes, Field(max_length=64 * 1024)] | None


class BundleHeader(Record):
    """What the file holds. `manifest` is the SignedManifest of the event, `amendments` are its SignedAmendments in order."""

    manifest: Annotated[bytes, Field(max_length=1024 * 1024)]
    needs: Annotated[tuple[Digest, ...], Field(max_length=MAX_REFS)]
    refs: Annotated[tuple[BundledRef, ...], Field(max_length=MAX_REFS)]
    commits: Count
    blobs: Count
    amendments: Annotated[tuple[Annotated[bytes, Field(max_length=32 * 1024)], ...], Field(max_length=MAX_AMENDMENTS)] = later(())


class BundledBlob(Record):
    """A blob that a commit names; `state_of` is the commit whose whole state it is, for a snapshot."""

    sha256: Digest
    size: Annotated[int, Field(ge=1, lt=1 << 40)]
    state_of: Digest | None
