"""Who is let in by a token: by whose word, until when, and how many."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from amendments.samples import chain
from hypothesis import given, settings
from hypothesis import strategies as st
from rounds.worlds import draft_on, event, identity, signed_contribution

from collab.protocol.admission import EXPIRED, NOBODY, REVOKED, TIMES, USED_UP, Admitted, admit, refusal, too_many
from collab.protocol.amendments import Admit, Amendments, Coordinators, Revoke
from collab.protocol.ancestry import root_ancestry
from collab.protocol.commit import Commit, root_commit
from collab.protocol.errors import RemoteProtocolError
from collab.protocol.event import Admission
from collab.protocol.identity import Identity
from collab.protocol.merging import Draft, claim_problem, make_draft, verify_commit
from collab.protocol.messages import Contribution, Signed
from collab.protocol.record import sha256
from collab.protocol.tokens import Terms, TokenProof

KEY, TOKEN = identity(90), identity(91)
INVITED = event(admission=Admission(mode="invited", key=KEY.peer_id), created=1000)
ROOT = root_commit(INVITED)
GUEST = identity(1).peer_id


def proof(peer: str, issuer: Identity = KEY, *, expires: int = 0, uses: int = 0) -> TokenProof:
    terms = Terms.seal(issuer, INVITED.digest, TOKEN.public_key, expires=expires, uses=uses)
    shown = admit(INVITED, peer, TOKEN.seed, terms)
    assert isinstance(shown, TokenProof)
    return shown


def claims_of(numbers: Sequence[int], *, uses: int) -> list[tuple[Signed, Contribution]]:
    """Contributions on the root by these identities, all with the one token."""
    return [
        signed_contribution(INVITED, ROOT, number, admission=proof(identity(number).peer_id, uses=uses)) for number in numbers
    ]


def merged(accepted: Sequence[tuple[Signed, Contribution]], late: Sequence[tuple[Signed, Contribution]] = ()) -> Commit:
    draft: Draft = make_draft(
        INVITED, root_ancestry(INVITED), accepted=[(*claim, 1.0) for claim in accepted],
        rejected=[(signed, USED_UP) for signed, _ in late], departed=[], certificate=None, proposer=identity(0).peer_id,
    )  # fmt: skip
    return draft.complete(sha256(b"state"), 2000)


@pytest.mark.parametrize("issuer", [KEY, identity(0)])
def test_the_admission_key_and_the_coordinator_make_tokens_good(issuer: Identity) -> None:
    assert refusal(INVITED, GUEST, proof(GUEST, issuer)) is None


def test_nobody_else_does_and_terms_cannot_be_changed() -> None:
    good = proof(GUEST, uses=2)
    assert refusal(INVITED, GUEST, proof(GUEST, identity(5))) == "not_invited"
    assert refusal(INVITED, GUEST, proof(GUEST, TOKEN)) == "not_invited"
    assert refusal(INVITED, identity(2).peer_id, good) == "not_invited"
    assert refusal(event(admission=INVITED.admission, name="other"), GUEST, good) == "not_invited"
    for change in ({"uses": 3}, {"expires": 9}, {"signature": bytes(64)}):
        assert refusal(INVITED, GUEST, good.model_copy(update={"terms": good.terms.model_copy(update=change)})) == "not_invited"
    assert refusal(INVITED, GUEST, good.model_copy(update={"token": identity(92).public_key})) == "not_invited"
    assert refusal(INVITED, GUEST, good.model_copy(update={"token": bytes(31) + b"\xff"})) == "not_invited"


def test_an_open_event_asks_for_nothing_and_counts_nobody() -> None:
    assert refusal(event(), GUEST, proof(GUEST, expires=1)) is None
    assert NOBODY.after(event(), root_commit(event())) is NOBODY


def test_an_invite_expires_by_the_historys_time() -> None:
    shown = proof(GUEST, expires=50)
    assert refusal(INVITED, GUEST, shown, Admitted(times=(49,))) is None
    assert refusal(INVITED, GUEST, shown, Admitted(times=(50,))) == EXPIRED
    inside = Admitted({TOKEN.public_key: frozenset({GUEST})}, times=(5000,))
    assert refusal(INVITED, GUEST, shown, inside) is None, "who is in stays"


@given(st.lists(st.integers(1000, 1100), min_size=TIMES, max_size=TIMES), st.lists(st.integers(0, 1 << 40), max_size=TIMES // 2))
def test_fewer_than_half_of_the_proposers_cannot_move_the_time(honest: list[int], lies: list[int]) -> None:
    times = (*honest[: TIMES - len(lies)], *lies)
    assert 1000 <= Admitted(times=times).time <= 1100


def test_the_first_are_in_and_stay_in_the_others_are_refused() -> None:
    claims = sorted(claims_of([1, 2, 3], uses=2), key=lambda claim: claim[0].digest)
    commit = merged(claims[:2], claims[2:])
    before = root_ancestry(INVITED)
    verify_commit(INVITED, before, commit)
    after = before.after(INVITED, commit)
    assert after.admitted.by(TOKEN.public_key) == {signed.signer for signed, _ in claims[:2]}
    shown = {number: proof(identity(number).peer_id, uses=2) for number in (1, 2, 3)}
    next_round = [signed_contribution(INVITED, commit, number, admission=shown[number]) for number in shown]
    assert sorted(str(claim_problem(INVITED, after, *claim)) for claim in next_round) == ["None", "None", USED_UP]


def test_a_proposer_can_neither_let_in_too_many_nor_choose_among_them() -> None:
    claims = sorted(claims_of([1, 2, 3], uses=2), key=lambda claim: claim[0].digest)
    for commit in (merged(claims), merged(claims[1:], claims[:1]), merged(claims[:1], claims[1:])):
        with pytest.raises(RemoteProtocolError, match="wrong_rejected"):
            verify_commit(INVITED, root_ancestry(INVITED), commit)
    verify_commit(INVITED, root_ancestry(INVITED), merged(claims[1:]))  # the first may not have reached it


def test_a_commit_with_a_token_in_it_survives_its_bytes() -> None:
    commit = merged(claims_of([1], uses=1))
    assert Commit.decode(commit.encode()) == commit


@settings(max_examples=30)
@given(st.permutations(range(1, 7)), st.integers(0, 4), st.sets(st.integers(1, 6)))
def test_places_go_by_digest_whatever_the_order_of_arrival(order: list[int], uses: int, inside: set[int]) -> None:
    claims = claims_of(order, uses=uses)
    before = Admitted({TOKEN.public_key: frozenset(identity(number).peer_id for number in inside)})
    late = too_many(INVITED, before, claims)
    assert late == too_many(INVITED, before, reversed(claims))
    places = max(0, uses - len(inside)) if uses else 6
    new = sorted(signed.digest for signed, _ in claims if signed.signer not in before.by(TOKEN.public_key))
    assert late == set(new[places:])


def test_an_admission_of_before_tokens_takes_no_place() -> None:
    shown = admit(INVITED, GUEST, KEY.seed)
    signed, claim = signed_contribution(INVITED, ROOT, 1, admission=shown)
    assert isinstance(shown, bytes)
    assert refusal(INVITED, GUEST, shown, Admitted(times=(1 << 40,))) is None
    assert too_many(INVITED, NOBODY, [(signed, claim)]) == frozenset()


def test_an_open_events_history_carries_no_admissions() -> None:
    manifest = event()
    before = root_ancestry(manifest)
    commit = draft_on(manifest, before, None, [0, 1]).complete(sha256(b"state"), 9)
    assert before.after(manifest, commit).admitted is NOBODY


def test_a_revoked_token_lets_nobody_in_from_the_commit_on_that_names_the_amendment() -> None:
    amendments = Amendments(INVITED, chain(Revoke(token=TOKEN.public_key), manifest=INVITED))
    revoked = amendments.newest().digest
    before = root_ancestry(INVITED, amendments)
    claims = claims_of([1, 2], uses=9)
    first = merged(claims[:1])
    verify_commit(INVITED, before, first)
    too_late = make_draft(
        before.event(INVITED, revoked), before, accepted=[(*claims[1], 1.0)], rejected=[], departed=[], certificate=None,
        proposer=identity(0).peer_id, amendment=revoked,
    ).complete(sha256(b"state"), 2000)  # fmt: skip
    with pytest.raises(RemoteProtocolError, match=REVOKED):
        verify_commit(INVITED, before, too_late)
    after = before.after(INVITED, first)
    in_force = after.event(INVITED, revoked)
    problems = {
        number: claim_problem(
            in_force, after, *signed_contribution(INVITED, first, number, admission=proof(identity(number).peer_id, uses=9))
        )
        for number in (1, 2)
    }
    assert problems == {1: None, 2: REVOKED}, "who is in stays"


def test_a_peer_that_needs_no_invite_takes_no_place() -> None:
    amendments = Amendments(INVITED, chain(Admit(peer=GUEST), manifest=INVITED))
    event_in_force = amendments.event_on(ROOT.model_copy(update={"amendment": amendments.newest().digest}))
    claims = claims_of([1, 2], uses=1)
    assert too_many(event_in_force, NOBODY, claims) == frozenset()
    assert NOBODY.after(event_in_force, merged(claims)).by(TOKEN.public_key) == {identity(2).peer_id}


def test_after_a_handover_the_former_coordinators_tokens_let_nobody_in_but_who_is_in_stays() -> None:
    handed_over = INVITED.model_copy(update={"coordinator": identity(7).peer_id})
    amendments = Amendments(INVITED, chain(Coordinators(keys=(handed_over.coordinator,), threshold=1), manifest=INVITED))
    base = ROOT.model_copy(update={"amendment": amendments.newest().digest})
    event_in_force = amendments.event_on(base)
    inside = Admitted({TOKEN.public_key: frozenset({GUEST})})
    assert refusal(event_in_force, GUEST, proof(GUEST, identity(0)), inside) is None
    assert refusal(event_in_force, identity(2).peer_id, proof(identity(2).peer_id, identity(0)), inside) == "not_invited"
    assert refusal(event_in_force, identity(2).peer_id, proof(identity(2).peer_id, KEY), inside) is None
