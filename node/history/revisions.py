"""From what a person types to the commits of a store; what cannot be found is a UserError."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ...protocol import refs
from ...protocol.commit import Commit
from ...protocol.errors import RemoteProtocolError
from ..errors import UserError
from ..store import Store
from .graph import StoreGraph

FSCK = "`collab-node fsck` says what else is damaged"


@contextmanager
def ref_errors() -> Iterator[None]:
    """Turn a RefError into a UserError."""
    try:
        yield
    except refs.RefError as error:
        raise UserError(str(error), "`collab-node log --oneline`, `branch` and `tag` list what there is") from error


def find_commit(store: Store, revision: str = refs.HEAD) -> Commit:
    """Return the commit that `revision` means. Raises UserError."""
    with ref_errors():
        digest = refs.resolve(StoreGraph(store), revision)
    return read_commit(store, digest)


def find_commits(store: Store, expression: str = refs.HEAD) -> list[bytes]:
    """Return the ids that a revision (with its ancestors) or a range stands for, newest first. Raises UserError."""
    with ref_errors():
        return refs.select(StoreGraph(store), expression)


def find_pair(store: Store, older: str, newer: str | None = None) -> tuple[Commit, Commit]:
    """Return the two commits that `A B` or `A..B` mean; `A...B` is from their common ancestor to B, A alone is A..HEAD.

    Raises UserError.
    """
    graph = StoreGraph(store)
    with ref_errors():
        ends = _ends(graph, older) if newer is None else (refs.resolve(graph, older), refs.resolve(graph, newer))
    return read_commit(store, ends[0]), read_commit(store, ends[1])


def _ends(graph: StoreGraph, expression: str) -> tuple[bytes, bytes]:
    meant = refs.parse(expression)
    if isinstance(meant, refs.Revision):
        return refs.resolve(graph, meant), refs.resolve(graph, refs.HEAD)
    left, right = refs.resolve(graph, meant.left), refs.resolve(graph, meant.right)
    if not meant.symmetric:
        return left, right
    bases = refs.merge_bases(graph, left, right)
    if not bases:
        raise refs.RefError(f"{expression!r}: the two have no common ancestor")
    return bases[0], right


def read_commit(store: Store, digest: bytes) -> Commit:
    """Return a commit that the index knows. Raises UserError if its bytes are lost, or are others."""
    try:
        commit = store.commit(digest)
    except KeyError as error:
        raise UserError(f"the store lacks the bytes of commit {digest.hex()[:16]}", FSCK) from error
    except RemoteProtocolError as error:
        raise UserError(f"the bytes of commit {digest.hex()[:16]} are damaged ({error})", FSCK) from error
    if commit.digest != digest:
        raise UserError(f"the bytes of commit {digest.hex()[:16]} are those of {commit.digest.hex()[:16]}", FSCK)
    return commit
