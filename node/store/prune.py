"""Making room: what lies before a snapshot is not needed to rebuild the weights, only to replay how they came to be."""

from __future__ import annotations

from ...protocol.commit import Commit
from ...protocol.messages import Contribution
from .store import Store


def prune(store: Store, keep: int) -> int:
    """Drop payloads and snapshots that the last `keep` commits do not need, and return the bytes that gave back.

    Commits and certificates stay. The newest snapshot that is at least `keep` rounds old stays, and everything after it.
    """
    if store.head() is None:
        return 0
    snapshot = store.latest_snapshot(not_after_round=max(0, store.head_commit().round - keep))
    if snapshot is None:
        return 0
    newer = [store.commit(digest) for digest in store.digests_after(snapshot.commit)]
    older = store.chain(before=snapshot.commit)
    snapshots = {kept.blob.digest for kept in store.snapshots()}
    needed = _payloads(newer) | {kept.blob.digest for kept in store.snapshots() if kept.round >= snapshot.round}
    dropped = _payloads([*older, store.commit(snapshot.commit)]) | snapshots
    for signed in store.forget(snapshot.round):
        dropped |= blobs_of(signed.open_as(Contribution))
    return sum(store.blobs.delete(digest) for digest in sorted(dropped - needed))


def _payloads(commits: list[Commit]) -> set[bytes]:
    return {blob for commit in commits for _, contribution in commit.contributions() for blob in blobs_of(contribution)}


def blobs_of(contribution: Contribution) -> set[bytes]:
    """Return the digests of the blobs that a contribution brings: its payload, and its Fisher payload if it has one."""
    blobs = (contribution.payload, contribution.fisher)
    return {blob.sha256 for blob in blobs if blob is not None}
