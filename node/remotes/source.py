"""Where refs, commits and blobs come from: what a fetch asks of the other side, and a push of us."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection
from typing import Protocol

from ...protocol.amendments import SignedAmendment
from ...protocol.commit import Certificate, Commit
from ...protocol.exchange import SnapshotOffer
from ...protocol.messages import Blob
from ...protocol.remote import Target
from ..errors import UserError
from ..history.graph import StoreGraph
from ..store import Store
from ..units import short

_FSCK = "see `collab-node fsck` there"


class Missing(UserError):
    """The other side does not have what it should have, or what it has is damaged."""


class Gone(Missing):
    """The other side says that it does not have a blob: old payloads are pruned."""


class Source(Protocol):
    """All raise NetworkError where the other side cannot be asked, RemoteProtocolError where it lies, Missing otherwise."""

    async def refs(self) -> dict[str, Target]:
        """Return what is published, by name."""

    async def record(self, name: str, target: Target) -> bytes:
        """Return the record that the name points at; its hash is the target's."""

    def commits(self, tip: bytes, have: Collection[bytes]) -> AsyncGenerator[tuple[Commit, Certificate | None]]:
        """Yield what leads to `tip` from the newest of `have` or from the root, oldest first: hashes checked, no more.

        The root is left out: it follows from the event.
        """

    def amendments(self) -> AsyncGenerator[SignedAmendment]:
        """Yield the event's amendments that are known there, oldest first, forks included: unchecked."""

    async def state(self, tip: bytes) -> SnapshotOffer | None:
        """Return the newest whole state at or before `tip` that is there, a claim; None if there is none."""

    async def blob(self, blob: Blob) -> None:
        """Bring a blob into the receiving store, its hash checked. Raises Gone if it is not there."""


def path_after(graph: StoreGraph, tip: bytes, have: Collection[bytes]) -> list[bytes]:
    """Return the commits after the newest of `have`, or after the root, up to `tip`, oldest first.

    Raises Missing for a commit that is not here, and for an index in which a commit is its own ancestor.
    """
    path: list[bytes] = []
    at = tip
    try:
        while at not in have and (parents := graph.parents(at)):
            if path and graph.round(at) >= graph.round(path[-1]):
                raise Missing(f"the index there is wrong: {short(at)} is no ancestor of {short(path[-1])}", _FSCK)
            path.append(at)
            at = parents[0]
    except KeyError as error:
        raise Missing(f"commit {short(at)} is missing", _FSCK) from error
    return path[::-1]


def state_before(store: Store, graph: StoreGraph, tip: bytes) -> SnapshotOffer | None:
    """Return the newest state at or before `tip` whose blob is in the store, None if there is none. Raises as `path_after`."""
    states, at = store.states(), tip
    while True:
        path = path_after(graph, at, states)
        at = graph.parents(path[0])[0] if path else at
        state = states.pop(at, None)
        if state is None:
            return None
        if store.blobs.size(state.digest) == state.size:
            return SnapshotOffer(commit=at, blob=Blob(sha256=state.digest, size=state.size))
