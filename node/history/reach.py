"""What a store has to keep: whatever a ref, the chain, or work that is not done yet reaches. Everything else is garbage."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ...protocol import refs
from ...protocol.event import EventManifest
from ...protocol.messages import Attestation, Contribution, Proposal, Signed
from ...protocol.module import SignedPackage
from ...protocol.rounds.state import VotingState
from ..modules.index import Index as Packages
from ..releases.files import blobs_named
from ..rounds.contributing import outstanding
from ..store import Store, blobs_of
from ..store.index import Index
from .graph import StoreGraph
from .reading import blobs_of_commit

Keeper = Callable[[EventManifest, Store, Index], Iterable[bytes]]


@dataclass(frozen=True)
class Reach:
    """The commits that refs and the chain reach, and every blob that is needed; not all of them need to be here."""

    commits: frozenset[bytes]
    blobs: frozenset[bytes]


def reach(event: EventManifest, store: Store, index: Index) -> Reach:
    """Return what is to be kept of the store whose index is `index`. Raises KeyError, RemoteProtocolError on a damaged commit."""
    tips = [*store.refs.all().values(), *(each.proposal.base for each in store.proposals.all())]
    commits = refs.ancestors(StoreGraph(store), tips)
    blobs = set(commits)
    for digest in commits:
        blobs.update(blob.sha256 for blob in blobs_of_commit(store.commit(digest)))
        snapshot = store.snapshot_of(digest)
        if snapshot is not None:
            blobs.add(snapshot)
    for keeper in KEEPERS:
        blobs.update(keeper(event, store, index))
    return Reach(frozenset(commits), frozenset(blobs))


def open_contributions(event: EventManifest, store: Store, index: Index) -> dict[bytes, set[bytes]]:
    """Return the payloads of contributions that a later commit may still take, by the contribution's digest."""
    head = store.head()
    if head is None:
        return {}
    oldest = store.commit(head).round - event.rounds.max_staleness
    rows = index.rows("SELECT digest, envelope FROM contributions WHERE round >= ?", (oldest,))
    return {bytes(digest): blobs_of(Signed.decode(envelope).open_as(Contribution)) for digest, envelope in rows}


def _contributed(event: EventManifest, store: Store, index: Index) -> Iterable[bytes]:
    for blobs in open_contributions(event, store, index).values():
        yield from blobs


def _own(event: EventManifest, store: Store, index: Index) -> Iterable[bytes]:
    for claim in outstanding(store):
        yield from blobs_of(claim)


def _voted(event: EventManifest, store: Store, index: Index) -> Iterable[bytes]:
    for (state,) in index.rows("SELECT state FROM voting"):
        yield from _commits_of_vote(state)


def _commits_of_vote(state: bytes) -> Iterable[bytes]:
    """Yield the commits that a node may have to show again after it was killed in a vote."""
    voting = VotingState.decode(state)
    for proof in (voting.locked, voting.valid):
        if proof is not None:
            yield proof.commit.sha256
    for envelope in voting.said:
        message = Signed.decode(envelope).open()
        if isinstance(message, Proposal):
            yield message.commit.sha256
        elif isinstance(message, Attestation) and message.commit is not None:
            yield message.commit


def _proposed(event: EventManifest, store: Store, index: Index) -> Iterable[bytes]:
    for proposed in store.proposals.all():
        yield from (blob.sha256 for blob in proposed.proposal.blobs())


def _released(event: EventManifest, store: Store, index: Index) -> Iterable[bytes]:
    yield from blobs_named(store).values()


def _packaged(event: EventManifest, store: Store, index: Index) -> Iterable[bytes]:
    for data in Packages(index.path.parent).records().values():
        for file in SignedPackage.read(data).open().files:
            if file.blob is not None:
                yield file.blob.sha256


KEEPERS: tuple[Keeper, ...] = (_contributed, _own, _voted, _proposed, _released, _packaged)
"""Each yields the blobs that one kind of unfinished work needs."""

