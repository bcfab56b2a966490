"""A node that was stopped while it caught up: what it has yet to fetch is no loss, and what is lost is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from command_kit import Run
from history_integrity.samples import ROUNDS, Sample
from hypothesis import given
from hypothesis import strategies as st
from store_samples import Chain

from collab.node.history.reading import ReplayStart, blobs_of_commit
from collab.node.store import Store, behind
from collab.protocol.commit import Commit
from collab.protocol.event import EventManifest

# Where a replay can begin, in every store that there can be

_LENGTH = 6
_ROUNDS = st.integers(0, _LENGTH)


class Shelf:
    """A store with a chain, whose payloads, states and note can be chosen."""

    def __init__(self, path: Path) -> None:
        made = Chain()
        self.store = Store.open(path)
        self.chain = [made.root]
        for number in range(1, _LENGTH + 1):
            self.chain.append(made.child(self.chain[-1], payload=b"%d" % number))
        for commit in self.chain:
            self.store.add_commit(commit)
        self.store.set_head(self.chain[-1].digest)
        self._event = made.event

    def event(self, *, seeded: bool) -> EventManifest:
        start = self._event.start.model_copy(update={"seed": 1 if seeded else None})
        return self._event.model_copy(update={"start": start})

    def arrange(self, missing: set[int], states: set[int], reached: int | None) -> None:
        """`reached`: up to which round the weights came, -1 if nowhere, None if that is not noted."""
        for commit in self.chain:
            if commit.round in missing:
                self.store.blobs.delete(blobs_of_commit(commit)[0].sha256)
            else:
                self.store.blobs.put_bytes(b"%d" % commit.round)
        self.store._index.write("DELETE FROM snapshots")
        for round in states:
            self.store.record_snapshot(self.chain[round].digest, self.store.blobs.put_bytes(b"state %d" % round))
        self.store.drop_note("behind")
        if reached is not None:
            self.store.put_note("behind", self.chain[reached].digest if reached >= 0 else b"")


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    made = Shelf(tmp_path_factory.mktemp("shelf"))
    yield made
    made.store.close()


@given(
    missing=st.sets(st.integers(1, _LENGTH)), states=st.sets(_ROUNDS), seeded=st.booleans(),
    reached=st.none() | st.integers(-1, _LENGTH),
)  # fmt: skip
def test_every_missing_payload_is_pending_or_lost_or_spared_by_a_state(
    shelf: Shelf, missing: set[int], states: set[int], seeded: bool, reached: int | None
) -> None:
    shelf.arrange(missing, states, reached)
    start = ReplayStart(shelf.event(seeded=seeded), shelf.store)
    for commit in shelf.chain:
        start.saw(commit)
    whole = states | ({0} if seeded else set())
    needed = {round for round in missing if round > max(whole, default=-1)}
    pending = {round for round in needed if reached is not None and round > reached}
    gone = missing - pending
    assert {commit.round for _, commit in start.pending} == pending
    assert (start.lost is None) == (not gone)
    assert start.lost is None or start.lost[1].round == max(gone)
    starts = {round for round in whole if round >= max(gone, default=0)}
    assert start.position == min(starts, default=None)
    assert start.awaits_state == (not whole and reached == -1)
    assert (start.unfetched() is None) == (not pending and not start.awaits_state)


# The note, as heads and weights move


def test_the_note_follows_the_weights_and_goes_at_the_head(shelf: Shelf) -> None:
    store, chain = shelf.store, shelf.chain
    shelf.arrange(set(), set(), None)
    try:
        store.set_head(chain[2].digest)
        behind.reached(store, chain[2])
        assert behind.first_pending(store) is None
        for head in (4, 6):  # a second page of commits: the weights are still where they were
            behind.moves_on(store)
            store.set_head(chain[head].digest)
            assert behind.first_pending(store) == 3
        for at, first in ((0, 3), (3, 4), (5, 6), (4, 6)):  # back at a snapshot, nothing is forgotten
            behind.reached(store, chain[at])
            assert behind.first_pending(store) == first
        behind.reached(store, chain[6])
        assert behind.first_pending(store) is None
    finally:
        store.set_head(chain[-1].digest)


def test_on_a_branch_that_was_left_what_both_share_is_here(shelf: Shelf) -> None:
    store, chain = shelf.store, shelf.chain
    shelf.arrange(set(), set(), None)
    other = Chain().child(chain[3], "other", b"other")
    store.add_commit(other)
    try:
        behind.moves_on(store)
        store.set_head(other.digest)
        assert behind.first_pending(store) == 4
        behind.reached(store, chain[6])
        assert behind.first_pending(store) == 4
        assert _unfetched(shelf, [*chain[:4], other]) is not None
        assert _unfetched(shelf, chain) is None  # a branch beside the chain was not learned ahead of its payloads
        behind.reached(store, other)
        assert behind.first_pending(store) is None
    finally:
        store.set_head(chain[-1].digest)


def _unfetched(shelf: Shelf, path: list[Commit]) -> str | None:
    for commit in path[4:]:
        shelf.store.blobs.delete(blobs_of_commit(commit)[0].sha256)
    start = ReplayStart(shelf.event(seeded=True), shelf.store)
    for commit in path:
        start.saw(commit)
    found = start.unfetched()
    return None if found is None else found.message


def test_a_note_about_nothing_that_is_here_excuses_nothing(shelf: Shelf) -> None:
    shelf.arrange({6}, set(), None)
    shelf.store.put_note("behind", b"\7" * 32)
    assert behind.first_pending(shelf.store) is None


# What people are told


@pytest.fixture
def stopped(sample: Sample) -> Sample:
    """The history of a node that was away after round 2, and was stopped when it had learned of the others."""
    late = [blob.sha256 for round in (3, 4, 5) for blob in blobs_of_commit(sample.commit(round))]
    with sample.store() as store:
        newest = store.head()
        assert newest is not None
        store.blobs.delete(sample.snapshot(4))
        store._index.write('DELETE FROM snapshots WHERE "commit" = ?', (store.at_round(4),))
        store.set_head(sample.commit(2).digest)
        behind.moves_on(store)
        store.set_head(newest)
        for digest in late:
            store.blobs.delete(digest)
    return sample


def findings(run: Run) -> list[dict[str, Any]]:
    return list(json.loads(run("fsck", "--json").stdout)["findings"])


def test_what_is_not_fetched_yet_is_one_note(run: Run, stopped: Sample) -> None:
    done = run("fsck")
    size = sum(blob.size for round in (3, 4, 5) for blob in blobs_of_commit(stopped.commit(round)))
    note = f"not fetched yet: 8 payloads of rounds 3 to 5, {size / 1000:.1f} kB in all"
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"note: {note}", "hint: start the node: it fetches them, or a snapshot that spares them", "no errors",
    ]  # fmt: skip
    verified = run("verify")
    assert verified.exit_code == 1
    assert verified.stderr.splitlines()[0] == f"error: {note}"
    assert len(verified.stderr.splitlines()) == 2
    assert run("verify", f"HEAD~{ROUNDS - 2}").exit_code == 0


def test_what_is_lost_is_an_error_all_the_same(run: Run, stopped: Sample) -> None:
    payload = stopped.commit(2).contributions()[0][1].payload.sha256
    stopped.blob_path(payload).unlink()
    assert {(each["kind"], each["severity"]) for each in findings(run)} == {("unfetched", "note"), ("pruned", "note")}
    with stopped.store() as store:
        store.blobs.delete(stopped.snapshot(2))
        store._index.write('DELETE FROM snapshots WHERE "commit" = ?', (store.at_round(2),))
    (error,) = [each for each in findings(run) if each["severity"] == "error"]
    assert (error["kind"], error["blob"], error["round"]) == ("payload", payload.hex(), 2)
    assert "of round 2 is missing" in run("verify").stderr


def test_what_came_damaged_is_an_error_too(run: Run, stopped: Sample) -> None:
    payload = stopped.commit(4).contributions()[0][1].payload
    stopped.blob_path(payload.sha256).parent.mkdir(exist_ok=True)
    stopped.blob_path(payload.sha256).write_bytes(bytes(payload.size))
    (error,) = [each for each in findings(run) if each["severity"] == "error"]
    assert "is damaged" in error["message"]


def test_a_store_that_came_as_a_bundle_came_whole(
    run_in: Callable[[Sample], Run], run: Run, sample: Sample, tmp_path: Path
) -> None:
    assert run("bundle", tmp_path / "bundle").exit_code == 0
    other = Sample(tmp_path / "other", sample.data)
    there = run_in(other)
    assert there("unbundle", tmp_path / "bundle").exit_code == 0
    assert findings(there) == []
    payload = other.commit(ROUNDS).contributions()[0][1].payload.sha256
    other.blob_path(payload).unlink()
    (error,) = findings(there)
    assert (error["kind"], error["severity"]) == ("payload", "error")
