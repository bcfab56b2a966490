"""What waits for commits to come, and whom to ask for them."""

from __future__ import annotations

from daemon.kit import EVENT, line
from hypothesis import given
from hypothesis import strategies as st
from rounds.worlds import identity, signed_contribution

from collab.node.rounds.neighbourhood import Asking, EarlyMessages, UpTo
from collab.protocol.canonical import encode
from collab.protocol.history import History
from collab.protocol.messages import Signed
from collab.protocol.record import sha256

CHAIN = [commit for commit, _ in line(3)]


def test_messages_wait_until_their_base_is_known() -> None:
    early = EarlyMessages()
    said = [signed_contribution(EVENT, commit, number)[0] for number, commit in enumerate(CHAIN)]
    known = {CHAIN[0].digest}
    for signed in said:
        early.note(signed, known)
    assert len(early) == 2
    assert early.take(known) == []
    known.add(CHAIN[2].digest)
    assert early.take(known) == [said[2]]
    assert early.take(known) == []
    assert len(early) == 1


def test_the_oldest_make_room() -> None:
    early = EarlyMessages(limit=3)
    said = [signed_contribution(EVENT, CHAIN[0], number)[0] for number in range(5)]
    for signed in said:
        early.note(signed, set())
    assert early.take({CHAIN[0].digest}) == said[2:]


def test_large_messages_take_no_more_memory_than_small_ones() -> None:
    early = EarlyMessages()
    for number in range(1000):
        body = encode({"base": sha256(b"%d" % number), "padding": bytes(50_000)})
        early.note(Signed(kind="progress", signer=identity(1).peer_id, body=body, signature=bytes(64)), set())
    assert len(early) * 50_000 <= 16 << 20
    assert len(early) > 300


def test_what_builds_on_the_base_waits_for_the_next_round() -> None:
    history = History(EVENT)
    for step in line(3):
        history.add(*step)
    known = UpTo(history, CHAIN[1].digest)
    assert history.root.digest in known
    assert CHAIN[0].digest in known
    assert CHAIN[1].digest in known
    assert CHAIN[2].digest not in known
    assert bytes(32) not in known


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 1 << 60) | st.binary(max_size=40) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(VALUES.map(lambda value: encode({"base": value})) | VALUES.map(encode) | st.binary(max_size=60))
def test_no_body_is_an_error(body: bytes) -> None:
    early = EarlyMessages()
    early.note(Signed(kind="progress", signer=identity(1).peer_id, body=body, signature=bytes(64)), set())
    assert early.take(set()) == []


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 10), st.floats(0, 3)), max_size=40))
def test_nobody_is_asked_too_often_nor_too_many_at_once(hints: list[tuple[str, int, float]]) -> None:
    asking, now = Asking(), 0.0
    asked: dict[str, float] = {}
    for peer, running, pause in hints:
        now += pause
        if asking.may_ask(peer, running, now):
            assert running < 8
            assert now - asked.get(peer, -10.0) >= 2.0
            asked[peer] = now
        else:
            assert running >= 8 or now - asked[peer] < 2.0
    assert len(asking._asked) <= 3
