"""Commits, the chain, snapshots, contributions, votes and counters."""

from __future__ import annotations

from pathlib import Path

import pytest
from store_samples import Chain

from collab.node.errors import UserError
from collab.node.store import Store, blobs_of, prune
from collab.protocol.commit import Certificate
from collab.protocol.errors import LocalProtocolError
from collab.protocol.record import sha256


def certificate(base: bytes, commit: bytes) -> Certificate:
    return Certificate(event=bytes(32), base=base, commit=commit, epoch=0, view=0, precommits=(b"a",))


def filled(store: Store, chain: Chain, rounds: int) -> list[bytes]:
    digests = [store.add_commit(chain.root)]
    digests += [store.add_commit(chain.grow()) for _ in range(rounds)]
    store.set_head(digests[-1])
    return digests


def test_an_empty_store_has_no_head(store: Store) -> None:
    assert store.head() is None
    assert store.digests() == []
    assert store.latest_snapshot() is None
    with pytest.raises(UserError, match="no history"):
        store.head_commit()


def test_a_commit_comes_back_equal_and_is_a_blob_under_its_own_digest(store: Store, chain: Chain, tmp_path: Path) -> None:
    commit = chain.grow()
    digest = store.add_commit(commit)
    assert digest == commit.digest
    assert store.blobs.read(digest) == commit.encode()
    store.close()
    with Store.open(tmp_path / "store") as again:
        assert again.commit(digest) == commit
        assert not again.has_commit(sha256(b"other"))


def test_an_unknown_commit_is_a_key_error(store: Store) -> None:
    with pytest.raises(KeyError):
        store.commit(bytes(32))


def test_certificates_come_with_their_commit_and_with_its_child(store: Store, chain: Chain) -> None:
    first = chain.grow()
    proof = certificate(chain.root.digest, first.digest)
    store.add_commit(first)
    assert store.certificate(first.digest) is None
    child = chain.child(first).model_copy(update={"parent_certificate": proof})
    store.add_commit(child, certificate(first.digest, child.digest))
    assert store.certificate(first.digest) == proof
    assert store.certificate(child.digest) == certificate(first.digest, child.digest)


def test_of_two_certificates_the_lower_epoch_is_kept(store: Store, chain: Chain) -> None:
    first = chain.grow()
    low = certificate(chain.root.digest, first.digest)
    high = low.model_copy(update={"epoch": 2})
    for given, kept in ((high, high), (low, low), (high, low)):
        store.add_commit(first, given)
        assert store.certificate(first.digest) == kept


def test_the_chain_is_newest_first_and_can_be_paged(store: Store, chain: Chain) -> None:
    digests = filled(store, chain, 5)
    newest_first = digests[::-1]
    assert store.head() == digests[-1]
    assert store.digests() == newest_first
    assert store.digests(limit=2) == newest_first[:2]
    assert store.digests(limit=2, before=newest_first[1]) == newest_first[2:4]
    assert [commit.round for commit in store.chain(limit=3)] == [5, 4, 3]
    assert store.digests_after(digests[2]) == digests[3:]
    assert store.digests_after(digests[2], limit=1) == digests[3:4]
    assert store.at_round(3) == digests[3]
    assert store.at_round(9) is None


def test_a_head_on_another_branch_moves_the_chain(store: Store, chain: Chain) -> None:
    digests = filled(store, chain, 4)
    fork = chain.child(store.commit(digests[2]), "fork")
    store.add_commit(fork)
    store.set_head(fork.digest)
    assert store.digests() == [fork.digest, *digests[2::-1]]
    assert not store.on_chain(digests[3])
    store.set_head(digests[4])
    assert store.digests() == digests[::-1]


def test_a_head_may_go_back_to_an_ancestor(store: Store, chain: Chain) -> None:
    digests = filled(store, chain, 4)
    store.set_head(digests[1])
    assert store.digests() == [digests[1], digests[0]]


def test_a_head_whose_ancestors_are_missing_is_refused_and_changes_nothing(store: Store, chain: Chain) -> None:
    digests = filled(store, chain, 2)
    orphan = chain.child(chain.child(chain.head, "missing"), "orphan")
    store.add_commit(orphan)
    with pytest.raises(LocalProtocolError, match="lacks commit"):
        store.set_head(orphan.digest)
    assert store.digests() == digests[::-1]


def test_snapshots_belong_to_the_chain(store: Store, chain: Chain) -> None:
    digests = filled(store, chain, 4)
    off_chain = chain.child(store.commit(digests[1]), "fork")
    store.add_commit(off_chain)
    for number, commit in enumerate((digests[0], digests[3], off_chain.digest)):
        store.record_snapshot(commit, store.blobs.put_bytes(b"state %d" % number))
    newest = store.latest_snapshot()
    assert newest is not None
    assert (newest.commit, newest.round, newest.blob.size) == (digests[3], 3, 7)
    earlier = store.latest_snapshot(not_after_round=2)
    assert earlier is not None
    assert earlier.commit == digests[0]
    assert [snapshot.round for snapshot in store.snapshots()] == [3, 0]
    with pytest.raises(LocalProtocolError):
        store.record_snapshot(digests[0], sha256(b"not here"))


def test_contributions_are_kept_by_base(store: Store, chain: Chain) -> None:
    signed, said = chain.contribution(chain.root)
    other, other_said = chain.contribution(chain.root, b"other")
    later, later_said = chain.contribution(chain.grow())
    for envelope, contribution in ((signed, said), (other, other_said), (later, later_said), (signed, said)):
        store.add_contribution(envelope, contribution)
    assert store.contributions(chain.root.digest) == sorted([signed, other], key=lambda kept: kept.digest)
    assert store.contributions(bytes(32)) == []


def test_votes_counters_and_notes_outlive_the_process(store: Store, tmp_path: Path) -> None:
    store.save_voting(bytes(32), b"first")
    store.save_voting(bytes(32), b"second")
    assert store.count("accepted_samples", 160) == 160
    store.count("accepted_samples", 40)
    store.put_note("position", b"12")
    store.close()
    with Store.open(tmp_path / "store") as again:
        assert again.load_voting(bytes(32)) == b"second"
        assert again.load_voting(b"\1" * 32) is None
        assert again.counter("accepted_samples") == 200
        assert again.counter("never") == 0
        assert again.note("position") == b"12"
        assert again.note("other") is None


def test_a_transaction_is_whole_or_nothing(store: Store) -> None:
    def fails() -> None:
        with store.transaction():
            store.count("a")
            store.put_note("b", b"c")
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        fails()
    assert store.counter("a") == 0
    assert store.note("b") is None


def test_pruning_keeps_what_the_newest_old_snapshot_cannot_replace(store: Store, chain: Chain) -> None:
    digests = [store.add_commit(chain.root)]
    for round in range(1, 7):
        payload = b"payload %d" % round
        signed, said = chain.contribution(chain.head, payload)
        store.blobs.put_bytes(payload)
        store.add_contribution(signed, said)
        digests.append(store.add_commit(chain.grow(payload)))
    store.set_head(digests[-1])
    for round in (0, 2, 4, 6):
        store.record_snapshot(digests[round], store.blobs.put_bytes(b"state %d" % round))

    assert prune(store, keep=100) == 0, "the root's snapshot is needed"
    assert prune(store, keep=1) == 4 * len("payload 1") + 2 * len("state 0")

    present = [round for round in range(1, 7) if store.blobs.has(sha256(b"payload %d" % round))]
    assert present == [5, 6]
    assert [snapshot.round for snapshot in store.snapshots()] == [6, 4]
    assert store.digests() == digests[::-1], "history stays"
    assert store.contributions(digests[0]) == []
    assert len(store.contributions(digests[5])) == 1
    assert prune(store, keep=1) == 0


def test_blobs_of_a_contribution(chain: Chain) -> None:
    _, said = chain.contribution(chain.root)
    assert blobs_of(said) == {sha256(b"payload")}
