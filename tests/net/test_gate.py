"""The gate before gossip is forwarded: every reason to refuse, in order, and no other exception for any bytes."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collab.node.rates import Buckets, Rate
from collab.node.sidecar.bounds import ConnectionBounds
from collab.node.sidecar.gate import Gate, Parcel
from collab.node.sidecar.limits import GossipLimits, Recent
from collab.protocol.canonical import encode
from collab.protocol.errors import RemoteProtocolError
from collab.protocol.identity import Identity
from collab.protocol.messages import Goodbye, Signed

ALICE = Identity(b"a" * 32)
BOB = Identity(b"b" * 32)
GOODBYE = Goodbye(event=bytes(32), base=bytes(32), round=1)
SEALED = Signed.seal(ALICE, GOODBYE)
GOOD = Parcel(ALICE.peer_id, ("t",), SEALED.encode(), bytes(8), lambda: True)


def numbered(number: int) -> Parcel:
    return replace(GOOD, sequence=number.to_bytes(8, "big"))


def gate(**limits: object) -> Gate:
    return Gate(["t"], GossipLimits(**limits))  # type: ignore[arg-type]


def test_a_good_message_passes() -> None:
    gate().check(BOB.peer_id, GOOD, 0.0)


@pytest.mark.parametrize(
    ("parcel", "reason"),
    [
        (replace(GOOD, data=bytes(64 * 1024 + 1)), "oversized"),
        (replace(GOOD, topics=("other",)), "wrong_topic"),
        (replace(GOOD, topics=("t", "other")), "wrong_topic"),
        (replace(GOOD, topics=()), "wrong_topic"),
        (replace(GOOD, sequence=bytes(9)), "malformed"),
        (replace(GOOD, data=b"\xc1nonsense"), "malformed"),
        (replace(GOOD, data=encode({**SEALED.model_dump(), "kind": "rumour"})), "unknown_kind"),
        (replace(GOOD, author=BOB.peer_id), "wrong_author"),
        (replace(GOOD, data=encode({**SEALED.model_dump(), "signature": bytes(64)})), "bad_signature"),
        (replace(GOOD, signed=lambda: False), "bad_signature"),
    ],
)
def test_a_bad_message_is_refused_with_its_reason(parcel: Parcel, reason: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        gate().check(BOB.peer_id, parcel, 0.0)
    assert caught.value.reason == reason


def test_a_forwarder_and_an_author_have_their_own_rates() -> None:
    strict = gate(forwarder=Rate(1.0, 2.0), author=Rate(1.0, 3.0))
    strict.check("first", numbered(1), 0.0)
    strict.check("first", numbered(2), 0.0)
    with pytest.raises(RemoteProtocolError, match="forwarder"):
        strict.check("first", numbered(3), 0.0)
    strict.check("second", numbered(4), 0.0)
    with pytest.raises(RemoteProtocolError, match="author"):
        strict.check("second", numbered(5), 0.0)
    strict.check("first", numbered(6), 1.0)


def test_old_messages_that_others_bring_again_do_not_mute_their_author() -> None:
    """They are genuine, and forgotten after some minutes; whoever kept them could else use up the author's rate with them."""
    strict = gate(forwarder=Rate(1.0, 1000.0), author=Rate(0.0, 3.0))
    strict.check("mesh", numbered(100), 0.0)
    for number in range(50):
        with suppress(RemoteProtocolError):
            strict.check("mallory", numbered(number), 0.0)
    strict.check("mesh", numbered(101), 0.0)
    strict.check("mesh", numbered(102), 0.0)
    with pytest.raises(RemoteProtocolError, match="author"):
        strict.check("mesh", numbered(103), 0.0)


def test_an_unverified_message_does_not_charge_the_author_it_names() -> None:
    strict = gate(author=Rate(1.0, 1.0))
    for _ in range(5):
        with pytest.raises(RemoteProtocolError, match="bad_signature"):
            strict.check(BOB.peer_id, replace(GOOD, signed=lambda: False), 0.0)
    strict.check(BOB.peer_id, GOOD, 0.0)


@given(st.binary(max_size=300), st.binary(max_size=10), st.lists(st.text(max_size=3), max_size=2), st.booleans())
def test_any_bytes_are_refused_and_nothing_else(data: bytes, sequence: bytes, topics: list[str], signed: bool) -> None:
    parcel = Parcel(ALICE.peer_id, tuple(topics), data, sequence, lambda: signed)
    with pytest.raises(RemoteProtocolError):
        gate().check(BOB.peer_id, parcel, 0.0)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=60))
def test_a_bucket_never_grants_more_than_burst_plus_rate_times_time(times: list[float]) -> None:
    buckets = Buckets(Rate(2.0, 5.0))
    times = sorted(times)
    granted = sum(buckets.take("peer", now) for now in times)
    assert granted <= 5.0 + 2.0 * (times[-1] - times[0]) + 1e-6


def test_buckets_forget_the_oldest_key() -> None:
    buckets = Buckets(Rate(0.0, 1.0), keys=2)
    assert [buckets.take(key, 0.0) for key in ("a", "b", "a", "c", "b")] == [True, True, False, True, True]


def test_recent_remembers_for_a_while_from_the_first_sight() -> None:
    recent = Recent(10.0, keys=2)
    assert recent.add(b"a", 0.0)
    assert not recent.add(b"a", 9.0)
    assert recent.add(b"a", 10.0)
    assert recent.add(b"b", 10.0)
    assert recent.add(b"c", 10.0)
    assert recent.add(b"a", 10.0)


def test_connections_are_bounded_in_all_and_an_address() -> None:
    bounds = ConnectionBounds(total=3, per_address=2)
    assert [bounds.admit(address) for address in ("x", "x", "x", "y", "z")] == [True, True, False, True, False]
    bounds.release("x")
    assert bounds.admit("z")
    assert (bounds.open, bounds.refused) == (3, 2)
