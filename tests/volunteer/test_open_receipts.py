"""What a node got from whom, until a merged contribution has said so."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from rounds.receipts import grown
from rounds.worlds import contribution, event, identity

from collab.node.credit.receipts import OpenReceipts
from collab.node.store import Store
from collab.protocol.commit import root_commit
from collab.protocol.messages import MAX_RECEIPTS, Contribution, Receipt

EVENT = event()
ROOT = root_commit(EVENT)
PEERS = [identity(number) for number in range(MAX_RECEIPTS + 3)]


class NoStore(Store):
    """Keeps its notes in memory, and has nothing else."""

    def __init__(self) -> None:
        self._notes: dict[str, bytes] = {}

    def note(self, name: str) -> bytes | None:
        return self._notes.get(name)

    def put_note(self, name: str, value: bytes) -> None:
        self._notes[name] = value


def got(receipts: OpenReceipts, number: int, size: int) -> None:
    receipts.fetched(b"blob", {PEERS[number].peer_id: size})
    receipts.needed([b"blob"])


def claim(received: tuple[Receipt, ...]) -> Contribution:
    return contribution(EVENT, ROOT, b"", received=received)


def sizes(received: tuple[Receipt, ...]) -> dict[int, int]:
    return {number: size for key, size in received for number, peer in enumerate(PEERS) if peer.public_key == key}


def test_only_what_the_chain_needed_is_receipted_and_once() -> None:
    receipts = OpenReceipts(NoStore())
    (commit,) = grown([{0: {}}])
    payload = commit.contributions()[0][1].payload.sha256
    receipts.fetched(b"junk", {PEERS[1].peer_id: 500})
    receipts.fetched(payload, {PEERS[1].peer_id: 600, PEERS[2].peer_id: 400})
    receipts.fetched(commit.digest, {PEERS[2].peer_id: 50})
    assert receipts.next([]) == ()
    receipts.needed_by(commit)
    receipts.needed_by(commit)
    assert sizes(receipts.next([])) == {1: 600, 2: 450}
    receipts.needed([b"junk"])  # it was a snapshot
    assert sizes(receipts.next([])) == {1: 1100, 2: 450}


def test_receipts_come_back_when_their_contribution_was_not_merged() -> None:
    receipts = OpenReceipts(NoStore())
    got(receipts, 1, 10)
    made = claim(receipts.next([]))
    got(receipts, 1, 5)
    assert sizes(receipts.next([made])) == {1: 5}
    assert sizes(receipts.next([])) == {1: 15}  # `made` was lost
    receipts.settle([made])
    assert sizes(receipts.next([])) == {1: 5}


def test_those_who_wait_longest_come_first() -> None:
    receipts = OpenReceipts(NoStore())
    for number in range(len(PEERS)):
        got(receipts, number, 1 + number)
    first = receipts.next([])
    assert sizes(first) == {number: 1 + number for number in range(MAX_RECEIPTS)}
    assert first == tuple(sorted(first))
    receipts.settle([claim(first)])
    got(receipts, 0, 1000)
    assert set(sizes(receipts.next([]))) == {*range(MAX_RECEIPTS, len(PEERS)), 0}


def test_what_is_open_outlives_the_process_with_its_order(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        receipts = OpenReceipts(store)
        for number in reversed(range(len(PEERS))):
            got(receipts, number, 7)
        receipts.save()
        receipts.save()
    with Store.open(tmp_path) as store:
        again = OpenReceipts(store)
        assert again.next([]) == receipts.next([])
        assert set(sizes(again.next([]))) == set(range(len(PEERS))[-MAX_RECEIPTS:])


happenings = st.lists(st.tuples(st.integers(0, len(PEERS) - 1), st.integers(1, 100)) | st.sampled_from(["merged", "lost"]))


@given(happenings)
def test_nothing_is_receipted_twice_and_nothing_forgotten(happened: list[tuple[int, int] | str]) -> None:
    receipts, all_got, merged = OpenReceipts(NoStore()), 0, 0
    for each in happened:
        if isinstance(each, tuple):
            got(receipts, *each)
            all_got += each[1]
            continue
        made = claim(receipts.next([]))
        if each == "merged":
            receipts.settle([made])
            merged += sum(size for _, size in made.received)
    for _ in range(len(PEERS)):
        made = claim(receipts.next([]))
        receipts.settle([made])
        merged += sum(size for _, size in made.received)
    assert (merged, receipts.next([])) == (all_got, ())
