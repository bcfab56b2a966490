"""A node that was away learns from one that was not: real histories and stores, really signed chains, no network."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from daemon.conftest import MakePeer
from daemon.kit import EVENT, FakeRpc, Internet, Peer, Step, blob_of, fields, grow, line
from rounds.worlds import event, finality, identity

from collab.node.net.errors import NetworkError
from collab.node.rounds import catch_up
from collab.node.rounds.catch_up import HISTORY, MANIFEST, fetch_manifest, restore_history
from collab.node.rounds.fetching import Unavailable
from collab.node.store import Store, behind
from collab.protocol.canonical import DOCUMENT_LIMITS
from collab.protocol.commit import Certificate, Commit
from collab.protocol.errors import RemoteProtocolError
from collab.protocol.exchange import HistoryReply, HistoryRequest, SnapshotOffer
from collab.protocol.history import History
from collab.protocol.manifest import SignedManifest
from collab.protocol.messages import Blob
from collab.protocol.record import sha256

CHAIN = line(8)


# Honest peers


@pytest.mark.parametrize("behind_by", [0, 1, 5, 8])
async def test_a_node_fetches_exactly_the_commits_that_it_lacks(make_peer: MakePeer, behind_by: int) -> None:
    donor, joiner = make_peer("donor"), make_peer("joiner")
    donor.take(CHAIN)
    joiner.take(CHAIN[: 8 - behind_by])
    assert await joiner.catch_up.ask("donor") == (behind_by > 0)
    assert set(joiner.fetched) == {commit.digest for commit, _ in CHAIN[8 - behind_by :]}
    assert len(joiner.fetched) == behind_by
    assert joiner.history.head == CHAIN[-1][0]
    assert joiner.store.head() == CHAIN[-1][0].digest
    assert joiner.rpc.calls == 1
    assert behind.first_pending(joiner.store) == (9 - behind_by if behind_by else None)


async def test_who_is_ahead_learns_nothing_from_who_is_behind(make_peer: MakePeer) -> None:
    donor, joiner = make_peer("donor"), make_peer("joiner")
    donor.take(CHAIN[:4])
    joiner.take(CHAIN)
    before = joiner.facts()
    assert not await joiner.catch_up.ask("donor")
    assert joiner.facts() == before


@pytest.mark.parametrize("page", [1, 3, 5])
async def test_a_long_history_comes_in_pages(make_peer: MakePeer, monkeypatch: pytest.MonkeyPatch, page: int) -> None:
    monkeypatch.setattr(catch_up, "COMMITS_A_REPLY", page)
    donor, joiner = make_peer("donor"), make_peer("joiner")
    donor.take(CHAIN)
    assert await joiner.catch_up.ask("donor")
    assert joiner.history.head == CHAIN[-1][0]
    assert len(joiner.fetched) == 8
    assert joiner.rpc.calls == -(-8 // page)


async def test_a_page_is_proven_a_few_commits_at_a_time(make_peer: MakePeer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catch_up, "_COMMITS_AT_ONCE", 5)
    donor, joiner = make_peer("donor"), make_peer("joiner")
    donor.take(CHAIN)
    donor.store.blobs.delete(CHAIN[6][0].digest)
    with pytest.raises(Unavailable):
        await joiner.catch_up.ask("donor")
    assert joiner.history.head == CHAIN[3][0]
    assert joiner.store.head() == CHAIN[3][0].digest
    donor.store.blobs.put_bytes(CHAIN[6][0].encode())
    assert await joiner.catch_up.ask("donor")
    assert joiner.history.head == CHAIN[-1][0]


async def test_two_peers_can_be_asked_at_once(make_peer: MakePeer) -> None:
    donors, joiner = [make_peer("one"), make_peer("two")], make_peer("joiner")
    for donor in donors:
        donor.take(CHAIN)
    await asyncio.gather(*(joiner.catch_up.ask(donor.name) for donor in donors))
    assert joiner.history.head == CHAIN[-1][0]
    assert len(joiner.fetched) == 8
    assert joiner.store.head() == CHAIN[-1][0].digest


async def test_the_branch_of_the_lower_epoch_wins_on_both_sides(make_peer: MakePeer) -> None:
    early = line(2, tag=b"early", start=CHAIN[:3])
    late = line(5, tag=b"late", start=CHAIN[:3], epoch=1)
    one, other = make_peer("one"), make_peer("other")
    one.take([*CHAIN[:3], *early])
    other.take([*CHAIN[:3], *late])
    assert not await one.catch_up.ask("other")
    assert await other.catch_up.ask("one")
    for peer in (one, other):
        assert peer.history.head == early[-1][0]
        assert peer.store.head() == early[-1][0].digest
        assert [commit.round for commit in peer.store.chain()] == [5, 4, 3, 2, 1, 0]
    assert behind.first_pending(one.store) is None
    assert behind.first_pending(other.store) == 4


async def test_a_fork_deep_in_the_past_is_found_through_pages_that_are_known(
    make_peer: MakePeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catch_up, "COMMITS_A_REPLY", 2)
    trunk = line(12)
    early = line(6, tag=b"early", start=trunk)
    late = line(40, tag=b"late", start=trunk, epoch=1)
    donor, joiner = make_peer("donor"), make_peer("joiner")
    donor.take([*trunk, *early])
    joiner.take([*trunk, *late])
    assert await joiner.catch_up.ask("donor")
    assert joiner.history.head == early[-1][0]
    assert joiner.store.head() == early[-1][0].digest
    assert {commit.digest for commit, _ in early} == set(joiner.fetched)


async def test_snapshots_of_known_commits_are_offered(make_peer: MakePeer) -> None:
    donor, joiner = make_peer("donor"), make_peer("joiner")
    donor.take(CHAIN)
    blob = donor.store.blobs.put_bytes(b"weights")
    donor.store.record_snapshot(CHAIN[6][0].digest, blob)
    await joiner.catch_up.ask("donor")
    assert joiner.catch_up.offers.of(CHAIN[6][0].digest) == [Blob(sha256=blob, size=7)]


async def test_an_unreachable_peer_is_a_network_error(make_peer: MakePeer) -> None:
    with pytest.raises(NetworkError):
        await make_peer("joiner").catch_up.ask("nobody")


# The manifest


async def test_the_manifest_comes_from_whoever_has_the_right_one(make_peer: MakePeer, net: Internet) -> None:
    make_peer("donor")
    other = make_peer("other", event(name="another"))
    asker = FakeRpc(net, "asker")
    garbage = FakeRpc(net, "garbage")

    async def lie(peer: str, body: bytes) -> bytes:
        return b"\xc1garbage"

    async def swap(peer: str, body: bytes) -> bytes:
        return SignedManifest.seal(identity(0), other.history.event).encode()

    garbage.register(MANIFEST, lie)
    FakeRpc(net, "swapper").register(MANIFEST, swap)
    peers = ["nobody", "garbage", "swapper", "other"]
    found = await fetch_manifest(asker, EVENT.digest, [*peers, "donor"])  # type: ignore[arg-type]
    assert found.open(EVENT.digest) == EVENT
    with pytest.raises(Unavailable, match="no peer gave the event: nobody cannot be reached"):
        await fetch_manifest(asker, EVENT.digest, peers)  # type: ignore[arg-type]
    with pytest.raises(Unavailable, match="no peer is known"):
        await fetch_manifest(asker, EVENT.digest, [])  # type: ignore[arg-type]


async def test_a_server_refuses_other_events_and_garbage(make_peer: MakePeer) -> None:
    donor = make_peer("donor")
    stranger = HistoryRequest(event=sha256(b"other"), locator=(sha256(b"x"),))
    for body, reason in ((stranger.encode(), "unknown_event"), (b"\xc1", "malformed"), (b"", "malformed")):
        with pytest.raises(RemoteProtocolError) as caught:
            await donor.rpc.call("donor", HISTORY, body)
        assert caught.value.reason == reason


async def test_a_locator_of_strange_digests_gets_the_history_from_the_root(make_peer: MakePeer) -> None:
    donor = make_peer("donor")
    donor.take(CHAIN)
    request = HistoryRequest(event=EVENT.digest, locator=tuple(sha256(b"%d" % number) for number in range(64)))
    reply = HistoryReply.decode(await donor.rpc.call("donor", HISTORY, request.encode()), DOCUMENT_LIMITS)
    assert reply.commits == tuple(blob_of(commit) for commit, _ in CHAIN)
    assert not reply.more


# Hostile peers


class Liar:
    """Answers history requests with whatever the test wants, and serves any bytes by their hash."""

    def __init__(self, net: Internet) -> None:
        self.replies: Iterator[HistoryReply | bytes] = iter(())
        self.asked = 0
        self._bytes: dict[bytes, bytes] = {}
        self.rpc = FakeRpc(net, "liar")
        self.rpc.register(HISTORY, self._answer)
        net.blobs["liar"] = self._bytes.get

    def holds(self, data: bytes) -> Blob:
        self._bytes[sha256(data)] = data
        return Blob(sha256=sha256(data), size=len(data))

    def page(self, commits: list[Commit], certificate: Certificate | None, *, more: bool = False) -> HistoryReply:
        blobs = tuple(self.holds(commit.encode()) for commit in commits)
        return HistoryReply(commits=blobs, certificate=certificate, more=more, snapshots=())

    def says(self, *replies: HistoryReply | bytes) -> None:
        self.replies = iter(replies)

    async def _answer(self, peer: str, body: bytes) -> bytes:
        self.asked += 1
        reply = next(self.replies)
        return reply if isinstance(reply, bytes) else reply.encode()


@pytest.fixture
def liar(net: Internet) -> Liar:
    return Liar(net)


def changed(commit: Commit, **changes: object) -> Commit:
    return Commit(**(fields(commit) | changes))


def forged(history: History, **changes: object) -> Step:
    """A commit on the head with some fields changed, and a true certificate for it."""
    commit = changed(grow(history, history.head.digest, b"forged")[0], **changes)
    return commit, finality(EVENT, history.head, commit)


Lie = Callable[[Liar, History], HistoryReply | bytes]

PROOF = CHAIN[1][1]
ELSEWHERE = line(3, event(name="another"))
OTHER = line(3, tag=b"other", start=CHAIN[:1])


def _no_certificate(liar: Liar, history: History) -> HistoryReply:
    return liar.page([CHAIN[1][0]], None)


def _certificate_of_another(liar: Liar, history: History) -> HistoryReply:
    return liar.page([CHAIN[1][0]], OTHER[0][1])


def _certificate_cut_short(liar: Liar, history: History) -> HistoryReply:
    assert len(PROOF.precommits) == 4
    return liar.page([CHAIN[1][0]], Certificate(**(fields(PROOF) | {"precommits": PROOF.precommits[:2]})))


def _inner_proof_missing(liar: Liar, history: History) -> HistoryReply:
    return liar.page([CHAIN[1][0], changed(CHAIN[2][0], parent_certificate=None)], CHAIN[2][1])


def _wrong_samples(liar: Liar, history: History) -> HistoryReply:
    commit, proof = forged(history, samples=10**9)
    return liar.page([commit], proof)


def _wrong_shares(liar: Liar, history: History) -> HistoryReply:
    first, *rest = grow(history, history.head.digest, b"forged")[0].accepted
    commit, proof = forged(history, accepted=(type(first)(**(fields(first) | {"denominator": b"\1\1"})), *rest))
    return liar.page([commit], proof)


def _nobody_contributed(liar: Liar, history: History) -> HistoryReply:
    commit, proof = forged(history, accepted=())
    return liar.page([commit], proof)


def _garbage_envelope(liar: Liar, history: History) -> HistoryReply:
    first, *rest = grow(history, history.head.digest, b"forged")[0].accepted
    commit, proof = forged(history, accepted=(type(first)(**(fields(first) | {"envelope": b"garbage"})), *rest))
    return liar.page([commit], proof)


def _parent_missing(liar: Liar, history: History) -> HistoryReply:
    return liar.page([CHAIN[3][0]], CHAIN[3][1])


def _gap(liar: Liar, history: History) -> HistoryReply:
    return liar.page([CHAIN[1][0], CHAIN[3][0]], CHAIN[3][1])


def _backwards(liar: Liar, history: History) -> HistoryReply:
    return liar.page([CHAIN[2][0], CHAIN[1][0]], CHAIN[1][1])


def _twice(liar: Liar, history: History) -> HistoryReply:
    return liar.page([CHAIN[1][0], CHAIN[1][0]], CHAIN[1][1])


def _a_root(liar: Liar, history: History) -> HistoryReply:
    return liar.page([history.root], PROOF)


def _another_event(liar: Liar, history: History) -> HistoryReply:
    return liar.page([commit for commit, _ in ELSEWHERE], ELSEWHERE[-1][1])


def _oversized(liar: Liar, history: History) -> HistoryReply:
    blob = Blob(sha256=sha256(b"large"), size=DOCUMENT_LIMITS.size + 1)
    return HistoryReply(commits=(blob,), certificate=PROOF, more=False, snapshots=())


def _garbage_commit(liar: Liar, history: History) -> HistoryReply:
    return HistoryReply(commits=(liar.holds(b"\xc1 garbage"),), certificate=PROOF, more=False, snapshots=())


def _not_canonical(liar: Liar, history: History) -> HistoryReply:
    return HistoryReply(commits=(liar.holds(CHAIN[1][0].encode() + b"\0"),), certificate=PROOF, more=False, snapshots=())


def _nobody_has_it(liar: Liar, history: History) -> HistoryReply:
    blob = Blob(sha256=sha256(b"nowhere"), size=100)
    return HistoryReply(commits=(liar.holds(b"\xc1"), blob), certificate=PROOF, more=False, snapshots=())


def _wrong_size(liar: Liar, history: History) -> HistoryReply:
    good = liar.holds(CHAIN[1][0].encode())
    blob = Blob(sha256=good.sha256, size=good.size + 1)
    return HistoryReply(commits=(blob,), certificate=PROOF, more=False, snapshots=())


def _garbage_reply(liar: Liar, history: History) -> bytes:
    return b"\xdd\xff\xff\xff\xff"


def _truncated_reply(liar: Liar, history: History) -> bytes:
    return liar.page([CHAIN[1][0]], PROOF).encode()[:-7]


LIES: list[Lie] = [
    _no_certificate, _certificate_of_another, _certificate_cut_short, _inner_proof_missing, _wrong_samples, _wrong_shares,
    _nobody_contributed, _garbage_envelope, _parent_missing, _gap, _backwards, _twice, _a_root, _another_event, _oversized,
    _garbage_commit, _not_canonical, _nobody_has_it, _wrong_size, _garbage_reply, _truncated_reply,
]  # fmt: skip


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.__name__[1:])
async def test_a_lie_is_refused_and_leaves_nothing_behind(make_peer: MakePeer, liar: Liar, lie: Lie) -> None:
    victim = make_peer("victim")
    victim.take(CHAIN[:1])
    before = victim.facts()
    liar.says(lie(liar, victim.history))
    with pytest.raises((RemoteProtocolError, Unavailable)):
        await victim.catch_up.ask("liar")
    assert victim.facts() == before
    assert liar.asked == 1
    assert len(asyncio.all_tasks()) == 1


async def test_a_lie_does_not_delete_what_was_here(make_peer: MakePeer, liar: Liar) -> None:
    victim = make_peer("victim")
    victim.take(CHAIN[:1])
    payload = victim.store.blobs.put_bytes(b"a payload of ours")
    liar.says(HistoryReply(commits=(liar.holds(b"a payload of ours"),), certificate=PROOF, more=False, snapshots=()))
    with pytest.raises(RemoteProtocolError):
        await victim.catch_up.ask("liar")
    assert victim.store.blobs.has(payload)


async def test_a_lie_after_truth_keeps_the_truth(make_peer: MakePeer, liar: Liar) -> None:
    victim = make_peer("victim")
    victim.take(CHAIN[:1])
    liar.says(liar.page([CHAIN[1][0]], CHAIN[1][1], more=True), _garbage_reply(liar, victim.history))
    with pytest.raises(RemoteProtocolError):
        await victim.catch_up.ask("liar")
    assert victim.history.head == CHAIN[1][0]
    assert victim.store.head() == CHAIN[1][0].digest


@pytest.mark.parametrize("known", [0, 1, 3], ids=["nothing", "the same commit", "the same commits"])
async def test_endless_more_without_progress_is_not_followed(make_peer: MakePeer, liar: Liar, known: int) -> None:
    victim = make_peer("victim")
    victim.take(CHAIN[:5])
    commits = [commit for commit, _ in CHAIN[1 : 1 + known]]
    page = liar.page(commits, CHAIN[known][1] if known else None, more=True)
    liar.says(*[page] * 100)
    assert not await victim.catch_up.ask("liar")
    assert liar.asked <= 2


async def test_known_commits_one_a_page_end_at_our_head(make_peer: MakePeer, liar: Liar) -> None:
    victim = make_peer("victim")
    victim.take(CHAIN[:5])
    pages = [liar.page([commit], certificate, more=True) for commit, certificate in CHAIN[:5]]
    liar.says(*(pages * 20))
    assert not await victim.catch_up.ask("liar")
    assert liar.asked <= 6


async def test_offers_for_inventions_are_not_remembered(make_peer: MakePeer, liar: Liar) -> None:
    victim = make_peer("victim")
    victim.take(CHAIN[:5])
    absurd = Blob(sha256=sha256(b"absurd"), size=(1 << 40) - 1)
    real = SnapshotOffer(commit=CHAIN[2][0].digest, blob=absurd)
    for number in range(20):
        offers = [SnapshotOffer(commit=sha256(b"%d %d" % (number, at)), blob=absurd) for at in range(15)]
        liar.says(HistoryReply(commits=(), certificate=None, more=True, snapshots=(*offers, real)))
        assert not await victim.catch_up.ask("liar")
    assert victim.catch_up.offers.of(CHAIN[2][0].digest) == [absurd]
    assert len(victim.catch_up.offers._said) == 1


# The store


def reopened(peer: Peer) -> History:
    return restore_history(EVENT, peer.store)


def test_an_empty_store_gets_the_root(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        history = restore_history(EVENT, store)
        assert store.head() == history.head.digest == history.root.digest


async def test_a_restored_history_is_what_was_stored(make_peer: MakePeer) -> None:
    donor, joiner = make_peer("donor"), make_peer("joiner")
    donor.take(CHAIN)
    await joiner.catch_up.ask("donor")
    found = reopened(joiner)
    assert found.head == CHAIN[-1][0]
    assert [found.at_round(round) for round in range(9)] == [joiner.history.at_round(round) for round in range(9)]
    assert all(found.certificate(commit.digest) == proof for commit, proof in CHAIN)


def test_a_head_without_a_certificate_is_taken_back(make_peer: MakePeer) -> None:
    peer = make_peer("peer")
    peer.take(CHAIN[:3])
    peer.store.add_commit(CHAIN[3][0])
    peer.store.set_head(CHAIN[3][0].digest)
    found = reopened(peer)
    assert found.head == CHAIN[2][0]
    assert peer.store.head() == CHAIN[2][0].digest
