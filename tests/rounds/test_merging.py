"""What goes into a commit, and what `verify_commit` finds wrong with one."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rounds.worlds import draft_on, event, finality, identity, signed_contribution

from collab.protocol.admission import admit, refusal
from collab.protocol.ancestry import Ancestry
from collab.protocol.commit import Accepted, Commit, root_commit
from collab.protocol.errors import RemoteProtocolError
from collab.protocol.event import Admission, Merge, Rounds
from collab.protocol.identity import Identity
from collab.protocol.merging import claim_problem, clip_of, make_draft, method_of, parts, verify_commit
from collab.protocol.messages import Blob, Goodbye, Signed
from collab.protocol.record import sha256
from collab.protocol.shares import shares, stale_samples

EVENT = event()
ROOT = root_commit(EVENT)
STATE = sha256(b"state")
STRANGERS_GOODBYE = Signed.seal(identity(5), Goodbye(event=EVENT.digest, base=ROOT.digest, round=0)).encode()


def ancestry() -> Ancestry:
    return Ancestry([ROOT])


def two_rounds() -> tuple[Ancestry, Any]:
    first = draft_on(EVENT, ancestry(), None, [0, 1, 2]).complete(STATE, 7)
    return Ancestry([first, ROOT]), finality(EVENT, ROOT, first)


def changed(commit: Commit, **changes: Any) -> Commit:
    return Commit(**({name: getattr(commit, name) for name in Commit.model_fields} | changes))


@given(st.lists(st.integers(1, 1 << 40), min_size=1, max_size=40), st.fractions(Fraction(1, 100), 1))
def test_shares_add_up_to_one_and_obey_the_cap(samples: list[int], cap: Fraction) -> None:
    result = shares(samples, cap)
    assert sum(result) == 1
    assert all(0 < share <= max(cap, Fraction(1, len(samples))) for share in result)


@given(st.integers(1, 1 << 39), st.integers(0, 64), st.fractions(Fraction(1, 1000), 1, max_denominator=1000))
def test_stale_samples_shrink_but_never_vanish(samples: int, staleness: int, decay: Fraction) -> None:
    counted = stale_samples(samples, staleness, decay)
    assert 0 < counted <= max(samples * decay**staleness, Fraction(1, 1 << 20))
    assert counted.denominator <= 1 << 20


@settings(max_examples=25)
@given(st.permutations([0, 1, 2, 3, 4]))
def test_a_draft_does_not_depend_on_the_order_of_arrival(order: list[int]) -> None:
    assert draft_on(EVENT, ancestry(), None, order).key == draft_on(EVENT, ancestry(), None, [0, 1, 2, 3, 4]).key


def test_a_commit_verifies_and_says_what_it_merged() -> None:
    commit = draft_on(EVENT, ancestry(), None, [0, 1, 2]).complete(STATE, 7)
    verify_commit(EVENT, ancestry(), commit)
    assert [part.share for part in parts(commit)] == [Fraction(1, 3)] * 3
    assert (commit.samples, commit.loss, commit.state, commit.time) == (60, 2.0, STATE, 7)
    assert [member.peer for member in commit.roster] == sorted(identity(number).peer_id for number in range(3))


def test_the_second_round_holds_the_first_ones_certificate() -> None:
    before, certificate = two_rounds()
    commit = draft_on(EVENT, before, certificate, [0, 1]).complete(STATE, 8)
    verify_commit(EVENT, before, commit)
    with pytest.raises(RemoteProtocolError, match="bad_certificate"):
        verify_commit(EVENT, before, changed(commit, parent_certificate=None))


def test_a_stale_contribution_counts_less_and_only_once() -> None:
    before, certificate = two_rounds()
    fresh = [(*signed_contribution(EVENT, before.base, number), 1.0) for number in (0, 1)]
    stale = signed_contribution(EVENT, ROOT, 5)
    draft = make_draft(
        EVENT, before, accepted=[*fresh, (*stale, 1.0)], rejected=[], departed=[], certificate=certificate,
        proposer=identity(0).peer_id,
    )  # fmt: skip
    commit = draft.complete(STATE, 8)
    verify_commit(EVENT, before, commit)
    by_peer = {part.signed.signer: part.share for part in parts(commit)}
    assert by_peer[identity(5).peer_id] < by_peer[identity(0).peer_id]
    assert claim_problem(EVENT, before, *signed_contribution(EVENT, ROOT, 1)) == "spent"
    after = Ancestry([commit, *before.commits])
    assert claim_problem(EVENT, after, *stale) == "stale"


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"samples": 21}, "implausible"),
        ({"steps": 11}, "implausible"),
        ({"loss": 1e300}, "implausible"),
        ({"received": ((identity(1).public_key, 5),)}, "implausible"),
        ({"fisher": Blob(sha256=STATE, size=1)}, "fisher"),
        ({"payload": Blob(sha256=STATE, size=10**9)}, "oversized"),
        ({"base": STATE}, "unknown_base"),
        ({"round": 3}, "wrong_round"),
        ({"event": STATE}, "wrong_event"),
    ],
)
def test_what_is_wrong_with_a_contribution(changes: dict[str, Any], problem: str) -> None:
    assert claim_problem(EVENT, ancestry(), *signed_contribution(EVENT, ROOT, 1, **changes), payload_limit=5000) == problem


def test_admission() -> None:
    token = identity(9).seed
    invited = event(admission=Admission(mode="invited", key=Identity(token).peer_id, banned=(identity(3).peer_id,)))
    guest = identity(1).peer_id
    assert refusal(invited, guest, None) == "not_invited"
    assert refusal(invited, guest, admit(invited, identity(2).peer_id, token)) == "not_invited"
    assert refusal(invited, guest, admit(invited, guest, token)) is None
    assert refusal(invited, identity(3).peer_id, admit(invited, identity(3).peer_id, token)) == "banned"


def test_the_method_follows_from_the_round() -> None:
    mixed = event(merge=Merge(method="average", full_every=3, full_method="fisher"))
    assert [method_of(mixed, round) for round in (1, 2, 3)] == ["average", "average", "fisher"]
    base = root_commit(mixed)
    assert claim_problem(mixed, Ancestry([base]), *signed_contribution(mixed, base, 1)) is None


def test_clips() -> None:
    assert [clip_of(EVENT, norm) for norm in (0.0, 10.0, 40.0)] == [1.0, 1.0, 0.25]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"event": STATE}, "wrong_event"),
        ({"parents": (STATE,)}, "wrong_parents"),
        ({"round": 2}, "wrong_round"),
        ({"full": True}, "wrong_full"),
        ({"method": "fisher"}, "wrong_method"),
        ({"samples": 61}, "wrong_samples"),
        ({"loss": 1.9}, "wrong_loss"),
        ({"roster": ROOT.roster}, "wrong_roster"),
        ({"accepted": ()}, "wrong_accepted"),
        ({"proposer": identity(7).peer_id}, "wrong_proposer"),
        ({"departed": (STRANGERS_GOODBYE,)}, "wrong_departed"),
    ],
)
def test_every_field_of_a_commit_is_checked(changes: dict[str, Any], reason: str) -> None:
    commit = draft_on(EVENT, ancestry(), None, [0, 1, 2]).complete(STATE, 7)
    with pytest.raises(RemoteProtocolError) as caught:
        verify_commit(EVENT, ancestry(), changed(commit, **changes))
    assert caught.value.reason == reason


def test_a_share_that_is_not_the_computed_one_is_found() -> None:
    commit = draft_on(EVENT, ancestry(), None, [0, 1, 2]).complete(STATE, 7)
    greedy = Accepted(envelope=commit.accepted[0].envelope, numerator=b"\x01", denominator=b"\x02", clip=1.0)
    with pytest.raises(RemoteProtocolError, match="wrong_accepted"):
        verify_commit(EVENT, ancestry(), changed(commit, accepted=(greedy, *commit.accepted[1:])))


def test_a_fraction_beyond_one_has_no_meaning() -> None:
    commit = draft_on(EVENT, ancestry(), None, [0]).complete(STATE, 7)
    for numerator, denominator in ((b"\x02", b"\x01"), (b"\x00", b"\x01"), (b"\x00", b"\x00")):
        wrong = Accepted(envelope=commit.accepted[0].envelope, numerator=numerator, denominator=denominator, clip=1.0)
        with pytest.raises(RemoteProtocolError, match="wrong_shares"):
            parts(changed(commit, accepted=(wrong,)))


def refusing(*refused: tuple[Signed, str]) -> Commit:
    draft = make_draft(
        EVENT, ancestry(), accepted=[(*signed_contribution(EVENT, ROOT, 0), 1.0)], rejected=refused, departed=[],
        certificate=None, proposer=identity(0).peer_id,
    )  # fmt: skip
    return draft.complete(STATE, 7)


def test_refusals_that_follow_from_the_claim_are_computed_again() -> None:
    fine, _ = signed_contribution(EVENT, ROOT, 1)
    twin, _ = signed_contribution(EVENT, ROOT, 1, loss=1.0)
    greedy, _ = signed_contribution(EVENT, ROOT, 2, samples=10**6)
    stranger, _ = signed_contribution(EVENT, ROOT, 3, base=STATE)
    verify_commit(EVENT, ancestry(), refusing((fine, "unavailable"), (greedy, "implausible")))
    verify_commit(EVENT, ancestry(), refusing((fine, "equivocation"), (twin, "equivocation")))
    for wrong in (
        [(fine, "implausible")],
        [(fine, "equivocation")],
        [(greedy, "unavailable")],
        [(stranger, "unavailable")],
        [(fine, "unavailable"), (twin, "unavailable")],
        [(fine, "unavailable"), (fine, "unavailable")],
        [(signed_contribution(EVENT, ROOT, 0)[0], "unavailable")],
    ):
        with pytest.raises(RemoteProtocolError):
            verify_commit(EVENT, ancestry(), refusing(*wrong))


def test_an_event_ends_with_its_last_round() -> None:
    short = event(Rounds(last_round=1))
    root = root_commit(short)
    first = draft_on(short, Ancestry([root]), None, [0]).complete(STATE, 7)
    verify_commit(short, Ancestry([root]), first)
    second = draft_on(short, Ancestry([first, root]), finality(short, root, first), [0]).complete(STATE, 8)
    with pytest.raises(RemoteProtocolError, match="event_over"):
        verify_commit(short, Ancestry([first, root]), second)
