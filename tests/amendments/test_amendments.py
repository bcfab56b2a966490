"""The chain of amendments: what each kind changes, what is refused, and that the fold follows from the chain alone."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest
from amendments.samples import EVENT, amendment, chain
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from rounds.worlds import event, identity

from collab.protocol.admission import refusal
from collab.protocol.amendments import (
    Admit,
    AmendedEvent,
    Amendment,
    Amendments,
    Announce,
    Ban,
    Body,
    Bootstrap,
    Close,
    Coordinators,
    Extend,
    InForce,
    Open,
    Pause,
    Recipe,
    Revoke,
    SignedAmendment,
    amended,
)  # fmt: skip
from collab.protocol.canonical import encode
from collab.protocol.errors import LocalProtocolError, RemoteProtocolError
from collab.protocol.event import Admission, Compression, InnerOptimiser, Maintainers, Merge, OuterOptimiser, Rounds

PEER = [identity(number).peer_id for number in range(10)]
FIRST = InForce.at_first(EVENT)
BODIES: list[Body] = [
    Ban(peer=PEER[5], reason="sent noise"), Revoke(token=b"t" * 32), Pause(reason="the data moves"), Extend(last_round=90),
    Close(after=40), Recipe(from_round=12, outer=OuterOptimiser(rate=1.0)), Bootstrap(addresses=("/ip4/1.2.3.4/tcp/1",)),
    Coordinators(keys=(PEER[1], PEER[2]), threshold=2), Announce(text="thank you, all"), Extend(total_samples=5000),
]  # fmt: skip


def after(*bodies: Body) -> InForce:
    return amended(EVENT, chain(*bodies))


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.kind)
def test_an_amendment_comes_back_from_its_bytes(body: Body) -> None:
    (made,) = chain(body)
    again = SignedAmendment.read(made.encode())
    assert again == made
    assert again.content.body == body
    assert again.name == made.content.digest


def test_without_amendments_the_event_is_the_manifest_itself() -> None:
    assert FIRST.event(7) is EVENT
    assert amended(EVENT, []) == FIRST


def test_an_amended_event_keeps_its_id_and_crosses_to_another_process() -> None:
    there = after(Ban(peer=PEER[5])).event(3)
    assert isinstance(there, AmendedEvent)
    assert there.digest == EVENT.digest
    again = AmendedEvent.decode(there.encode())
    assert again == there
    assert again.digest == EVENT.digest


def test_a_ban_shuts_out_and_admitting_lifts_it() -> None:
    banned = after(Ban(peer=PEER[5], reason="noise"))
    assert banned.banned == {PEER[5]: "noise"}
    assert refusal(banned.event(1), PEER[5], None) == "banned"
    lifted = after(Ban(peer=PEER[5]), Admit(peer=PEER[5]))
    assert refusal(lifted.event(1), PEER[5], None) is None


def test_admitting_lets_a_peer_into_an_invited_event() -> None:
    invited = event(admission=Admission(mode="invited", key=PEER[9]))
    state = amended(invited, chain(Admit(peer=PEER[3]), manifest=invited))
    assert refusal(invited, PEER[3], None) == "not_invited"
    assert refusal(state.event(1), PEER[3], None) is None
    assert refusal(state.event(1), PEER[4], None) == "not_invited"


def test_revoked_tokens_add_up() -> None:
    state = after(Revoke(token=b"a" * 32), Revoke(token=b"b" * 32))
    assert state.revoked == {b"a" * 32, b"b" * 32}
    there = state.event(1)
    assert isinstance(there, AmendedEvent)
    assert there.revoked == (b"a" * 32, b"b" * 32)


def test_pausing_and_opening() -> None:
    assert after(Pause(reason="lunch")).paused
    assert after(Pause(reason="lunch")).pause_reason == "lunch"
    opened = after(Pause(), Open())
    assert (opened.paused, opened.pause_reason) == (False, "")


def test_the_last_round_is_what_was_said_last() -> None:
    assert after(Close(after=40)).event(1).rounds.last_round == 40
    assert after(Close(after=40)).closed
    longer = after(Close(after=40), Extend(last_round=80))
    assert (longer.last_round, longer.closed) == (80, False)
    assert longer.is_over(80)
    assert not longer.is_over(79)
    assert not after(Close(after=4), Extend(last_round=0)).is_over(1000)


def test_a_recipe_holds_from_its_round_on() -> None:
    slower, sparser = OuterOptimiser(rate=0.5), Compression(k=64)
    state = after(Recipe(from_round=10, outer=slower), Recipe(from_round=20, compression=sparser), Extend(total_samples=999))
    before, then, later = state.event(9), state.event(10), state.event(20)
    assert (before.outer, before.compression) == (EVENT.outer, EVENT.compression)
    assert (then.outer, then.compression) == (slower, EVENT.compression)
    assert (later.outer, later.compression) == (slower, sparser)
    assert before.inner.total_samples == later.inner.total_samples == 999
    assert isinstance(later, AmendedEvent)
    assert (state.recipe_since(9), state.recipe_since(15), later.recipe_since) == (0, 10, 20)


@pytest.mark.parametrize(
    ("before", "body", "why"),
    [
        ((), Ban(peer=PEER[0]), "coordinator"),
        ((Ban(peer=PEER[5]),), Ban(peer=PEER[5]), "already"),
        ((), Admit(peer=PEER[5]), "already"),
        ((Revoke(token=bytes(32)),), Revoke(token=bytes(32)), "already"),
        ((Pause(),), Pause(), "paused already"),
        ((), Open(), "not paused"),
        ((), Recipe(from_round=5, outer=OuterOptimiser(kind="nesterov", momentum=0.5)), "outer.kind"),
        ((), Recipe(from_round=5, rounds=Rounds(max_staleness=9)), "max_staleness"),
        ((), Recipe(from_round=5, rounds=Rounds(last_round=9)), "last_round"),
        ((Recipe(from_round=50, merge=Merge()),), Recipe(from_round=5, merge=Merge()), "from round 50 on"),
        ((Recipe(from_round=5, inner=InnerOptimiser(warmup_samples=500)),), Extend(total_samples=400), "warm-up"),
        ((Ban(peer=PEER[5]),), Coordinators(keys=(PEER[5],), threshold=1), "banned"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(before: tuple[Body, ...], body: Body, why: str) -> None:
    state = after(*before)
    with pytest.raises(RemoteProtocolError, match="wrong_amendment") as caught:
        state.after(amendment(state, body))
    assert why in caught.value.detail


@pytest.mark.parametrize(
    "make",
    [
        lambda: Announce(text=""), lambda: Announce(text="two\nlines"), lambda: Announce(text="x" * 501),
        lambda: Announce(text="\x1b[2Jgone"), lambda: Ban(peer="nobody"), lambda: Close(after=0), lambda: Extend(),
        lambda: Recipe(from_round=3), lambda: Coordinators(keys=(), threshold=1), lambda: Bootstrap(addresses=()),
        lambda: Coordinators(keys=(PEER[1], PEER[1]), threshold=1), lambda: Coordinators(keys=(PEER[1],), threshold=2),
        lambda: Amendment(event=bytes(32), number=1, previous=bytes(32), time=1, body=Open()),
        lambda: Amendment(event=bytes(32), number=2, previous=None, time=1, body=Open()),
    ],
)  # fmt: skip
def test_a_body_is_valid_once_built(make: Any) -> None:
    with pytest.raises(ValidationError):
        make()


def test_coordinators_hand_over_with_a_threshold() -> None:
    state = after(Coordinators(keys=(PEER[1], PEER[2], PEER[3]), threshold=2))
    assert state.event(1).coordinator == PEER[1]
    for signers, reason in (((0,), "not_a_coordinator"), ((1,), "too_few_signatures"), ((0, 1, 2), "not_a_coordinator")):
        with pytest.raises(RemoteProtocolError, match=reason):
            state.after(amendment(state, Pause(), *signers))
    assert state.after(amendment(state, Pause(), 3, 1)).paused


def test_nobody_signs_twice_and_no_signature_is_made_up() -> None:
    signed = amendment(FIRST, Pause(), 0)
    with pytest.raises(LocalProtocolError):
        signed.signed_by(identity(0))
    with pytest.raises(ValidationError):
        SignedAmendment(amendment=signed.amendment, signatures=signed.signatures * 2)
    other = amendment(FIRST, Announce(text="another"), 0)
    with pytest.raises(RemoteProtocolError, match="bad_signature"):
        FIRST.after(SignedAmendment(amendment=other.amendment, signatures=signed.signatures))


def test_gaps_other_events_and_other_chains_are_refused() -> None:
    first, second, third = chain(Announce(text="a"), Announce(text="b"), Announce(text="c"))
    elsewhere = event(name="another")
    for state, signed, reason in (
        (FIRST, second, "wrong_previous"), (FIRST.after(first), third, "wrong_previous"),
        (FIRST.after(first), first, "wrong_previous"), (InForce.at_first(elsewhere), first, "wrong_event"),
    ):  # fmt: skip
        with pytest.raises(RemoteProtocolError, match=reason):
            state.after(signed)
    with pytest.raises(RemoteProtocolError, match="unknown_previous"):
        Amendments(EVENT, [second])


def test_of_a_fork_everybody_takes_the_same_side_until_a_commit_names_one() -> None:
    one, two = amendment(FIRST, Announce(text="one")), amendment(FIRST, Announce(text="two"))
    there, back = Amendments(EVENT, [one, two]), Amendments(EVENT, [two, one])
    assert there.newest().digest == back.newest().digest == min(one.name, two.name)
    loser = max(one.name, two.name)
    assert there.newest(loser).digest == loser
    assert not there.follows(one.name, two.name)
    assert [signed.name for signed in there.chain(loser)] == [loser]


def test_follows_goes_along_the_chain() -> None:
    made = chain(*(Announce(text=f"{number}") for number in range(4)))
    known = Amendments(EVENT, made)
    names = [None, *(signed.name for signed in made)]
    for newer, name in enumerate(names):
        assert [known.follows(name, older) for older in names] == [older <= newer for older in range(len(names))]
    with pytest.raises(RemoteProtocolError, match="unknown_amendment"):
        known.follows(bytes(32), None)
    assert known.after(2) == made[2:]
    assert known.chain() == made


bodies = st.lists(
    st.one_of(
        st.builds(Ban, peer=st.sampled_from(PEER[5:])), st.builds(Admit, peer=st.sampled_from(PEER[5:])), st.just(Pause()),
        st.just(Open()), st.builds(Close, after=st.integers(1, 99)), st.builds(Extend, last_round=st.integers(0, 99)),
        st.builds(Announce, text=st.sampled_from(["a", "b"])),
        st.builds(Recipe, from_round=st.integers(1, 50), outer=st.builds(OuterOptimiser, rate=st.floats(0.1, 3.0))),
    ),
    max_size=12,
)  # fmt: skip


def _valid(found: list[Body]) -> list[SignedAmendment]:
    """The chain of those that make sense after those before."""
    state, made = FIRST, list[SignedAmendment]()
    for body in found:
        signed = amendment(state, body)
        try:
            state = state.after(signed)
        except RemoteProtocolError:
            continue
        made.append(signed)
    return made


@given(bodies, st.integers(1, 60))
def test_the_fold_is_the_chain_s_alone(found: list[Body], round: int) -> None:
    made = _valid(found)
    whole, known = amended(EVENT, made), Amendments(EVENT, made)
    assert known.newest() == whole
    read = amended(EVENT, [SignedAmendment.read(signed.encode()) for signed in made])
    assert read == whole
    assert read.event(round).encode() == whole.event(round).encode()
    assert whole.event(round).digest == EVENT.digest
    for at, signed in enumerate(made):
        assert known.state(signed.name) == amended(EVENT, made[: at + 1])


@given(bodies, st.data())
def test_no_chain_survives_a_change_of_its_order(found: list[Body], data: st.DataObject) -> None:
    made = _valid(found)
    shuffled = data.draw(st.permutations(made))
    if shuffled != made:
        with pytest.raises(RemoteProtocolError, match="wrong_previous"):
            amended(EVENT, shuffled)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        SignedAmendment.read(data)


@given(st.dictionaries(st.sampled_from(["kind", "peer", "after", "text"]), st.one_of(st.text(max_size=5), st.integers(-9, 9))))
def test_any_body_is_read_or_refused(body: dict[str, Any]) -> None:
    content = {"event": EVENT.digest, "number": 1, "previous": None, "time": 1, "body": body}
    with suppress(RemoteProtocolError):
        assert SignedAmendment.read(encode({"amendment": encode(content), "signatures": ()})).content.number == 1


RULES = st.tuples(st.lists(st.integers(0, 3), min_size=1, max_size=3, unique=True), st.integers(1, 2)).map(
    lambda rule: Coordinators(keys=tuple(PEER[number] for number in rule[0]), threshold=min(rule[1], len(rule[0])))
)


@given(st.lists(RULES | st.sampled_from([Announce(text="hello")]), max_size=6))
def test_who_signs_for_the_event_follows_from_the_chain(bodies: list[Body]) -> None:
    made = chain(*bodies)
    amendments = Amendments(EVENT, made)
    names = [None, *(signed.name for signed in made)]
    in_turn = [amendments.signers(name) for name in names]
    for name, signers in zip(names, in_turn, strict=True):
        state = amendments.state(name)
        assert (set(signers[-1].keys), signers[-1].threshold) == (set(state.coordinators), state.threshold)
        assert signers == in_turn[-1][: len(signers)]
        assert not any(one.are_as(next_one) for one, next_one in pairwise(signers))
        assert [each.since for each in signers] == [since for since in names if since in {each.since for each in signers}]


def test_maintainers_sign_for_an_event_that_names_some() -> None:
    rule = Maintainers(keys=(PEER[4], PEER[5], PEER[6]), threshold=2)
    ruled = event().model_copy(update={"maintainers": rule})
    made = chain(Coordinators(keys=(PEER[1],), threshold=1), manifest=ruled)
    (signers,) = Amendments(ruled, made).signers(made[-1].name)
    assert (set(signers.keys), signers.threshold, signers.since) == (set(rule.keys), 2, None)
    assert [signers.missing(signed) for signed in ((), PEER[4:5], PEER[:4], PEER[4:6], PEER[4:7])] == [2, 1, 2, 0, 0]
    with pytest.raises(RemoteProtocolError, match="unknown_amendment"):
        Amendments(ruled).signers(made[-1].name)
