"""What peers offer is remembered within bounds, and forgotten when it was a lie."""

from __future__ import annotations

from collab.node.rounds.offers import SnapshotOffers
from collab.protocol.exchange import SnapshotOffer
from collab.protocol.messages import Blob
from collab.protocol.record import sha256


def offer(commit: int, blob: int = 0) -> SnapshotOffer:
    return SnapshotOffer(commit=sha256(b"%d" % commit), blob=Blob(sha256=sha256(b"b%d" % blob), size=10))


def test_offers_are_kept_in_order_each_once() -> None:
    offers = SnapshotOffers()
    for peer, made in (("a", offer(1, 1)), ("b", offer(1, 2)), ("a", offer(1, 1))):
        offers.add(made, peer)
    assert offers.of(offer(1).commit) == [offer(1, 1).blob, offer(1, 2).blob]
    assert offer(1).commit in offers
    assert offer(2).commit not in offers
    assert "not a digest" not in offers


def test_a_dropped_offer_is_gone() -> None:
    offers = SnapshotOffers()
    offers.add(offer(1, 1), "a")
    offers.add(offer(1, 2), "b")
    offers.drop(offer(1).commit, offer(1, 1).blob)
    assert offers.of(offer(1).commit) == [offer(1, 2).blob]
    offers.drop(offer(1).commit, offer(1, 2).blob)
    offers.drop(offer(1).commit, offer(1, 2).blob)
    assert offer(1).commit not in offers
    offers.drop(offer(9).commit, offer(9).blob)
    assert not offers._said


def test_memory_is_bounded() -> None:
    offers = SnapshotOffers()
    for commit in range(500):
        for blob in range(50):
            offers.add(offer(commit, blob), f"peer {blob}")
    assert len(offers._said) <= 64
    assert all(len(said) <= 16 for said in offers._said.values())
    assert offer(499).commit in offers


def test_one_liar_neither_crowds_out_nor_comes_before_what_several_say() -> None:
    offers = SnapshotOffers()
    for invented in range(100, 130):
        offers.add(offer(1, invented), "liar")
    for peer in ("b", "c"):
        offers.add(offer(1, 1), peer)
    assert offers.of(offer(1).commit) == [offer(1, 1).blob, offer(1, 129).blob]
    assert offers.are_agreed(offer(1).commit)
    offers.drop(offer(1).commit, offer(1, 1).blob)
    assert not offers.are_agreed(offer(1).commit)
