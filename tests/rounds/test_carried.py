"""Verdicts in the commit of a round: what may stand there, what a proposer takes, and nothing new where there are none."""

from __future__ import annotations

from typing import Any

import pytest
from gates.test_gates_verdict import measurement, verdict
from hypothesis import given, settings
from hypothesis import strategies as st
from rounds.fakenet import Net
from rounds.test_merging import changed
from rounds.worlds import draft_on, event, finality, identity

from collab.protocol.admission import Admitted
from collab.protocol.ancestry import Ancestry
from collab.protocol.canonical import decode
from collab.protocol.carried import choose_verdicts
from collab.protocol.commit import MAX_VERDICTS, Commit, decode_commit, root_commit
from collab.protocol.errors import RemoteProtocolError
from collab.protocol.event import Admission
from collab.protocol.gates import LossGate
from collab.protocol.identity import Identity
from collab.protocol.merging import make_draft, verify_commit
from collab.protocol.messages import Signed
from collab.protocol.record import sha256
from collab.protocol.verdict import Verdict, sign_verdict

GATES = tuple(LossGate(name=name, kind="loss") for name in ("poetry", "prose"))
BANNED = identity(7)
EVENT = event(gate=GATES, admission=Admission(banned=(BANNED.peer_id,)))
ROOT = root_commit(EVENT)
FIRST = draft_on(EVENT, Ancestry([ROOT]), None, [0, 1, 2]).complete(sha256(b"first"), 7)
BEFORE = Ancestry([FIRST, ROOT])
PROOF = finality(EVENT, ROOT, FIRST)
STATE = sha256(b"second")


def said(signer: int | Identity = 1, gate: str = "poetry", **changes: Any) -> tuple[Signed, Verdict]:
    """A verdict on the first commit, signed by this identity."""
    fields = {"event": EVENT.digest, "candidate": FIRST.state, "against": ROOT.state, "measurement": measurement(gate=gate)}
    content = verdict(**(fields | changes))
    return sign_verdict(identity(signer) if isinstance(signer, int) else signer, content), content


def carrying(*verdicts: Signed) -> Commit:
    """The second commit, with these verdicts in it."""
    plain = draft_on(EVENT, BEFORE, PROOF, [0, 1])
    claims = [(*each, 1.0) for each in plain.commit.contributions()]
    draft = make_draft(
        EVENT, BEFORE, accepted=claims, rejected=[], departed=[], certificate=PROOF, proposer=identity(0).peer_id,
        verdicts=verdicts,
    )  # fmt: skip
    return draft.complete(STATE, 8)


def refused(commit: Commit) -> str:
    with pytest.raises(RemoteProtocolError) as caught:
        verify_commit(EVENT, BEFORE, commit)
    return str(caught.value)


def test_a_commit_carries_verdicts_in_the_order_of_their_digests_whatever_the_order_of_arrival() -> None:
    several = [said(number, gate)[0] for number in (0, 1, 2) for gate in ("poetry", "prose")]
    commit = carrying(*several)
    assert commit == carrying(*several[::-1])
    verify_commit(EVENT, BEFORE, decode_commit(commit.encode()))
    assert [Signed.decode(envelope).digest for envelope in commit.verdicts] == sorted(each.digest for each in several)
    assert refused(changed(commit, verdicts=commit.verdicts[::-1])) == "wrong_verdicts"


def test_a_commit_without_verdicts_does_not_mention_them() -> None:
    fields = decode(carrying().encode())
    assert isinstance(fields, dict)
    assert "verdicts" not in fields
    assert carrying().digest == draft_on(EVENT, BEFORE, PROOF, [0, 1]).complete(STATE, 8).digest


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        (said(event=bytes(32)), "wrong_verdicts: wrong_event"),
        (said(gate="mine"), "wrong_verdicts: unknown_gate"),
        (said(BANNED), "wrong_verdicts: banned"),
    ],
)
def test_what_may_not_stand_in_a_commit(wrong: tuple[Signed, Verdict], problem: str) -> None:
    assert refused(carrying(wrong[0])) == problem
    assert choose_verdicts(EVENT, BEFORE, [wrong, said()]) == [said()[0]]


def test_a_forged_verdict_and_another_message_may_not_stand_there() -> None:
    signed, _ = said()
    forged = signed.model_copy(update={"signer": identity(2).peer_id})
    assert refused(changed(carrying(), verdicts=(forged.encode(),))).startswith("bad_signature")
    claim = carrying().accepted[0].envelope
    assert refused(changed(carrying(), verdicts=(claim,))).startswith("unexpected_kind")
    assert refused(changed(carrying(), verdicts=(b"\xc1",))).startswith("malformed")


def test_one_word_of_each_peer_on_a_gate_and_two_versions() -> None:
    first, second = said(hardware="cpu"), said(hardware="another cpu")
    assert refused(carrying(first[0], second[0])).startswith("duplicate")
    assert refused(carrying(first[0], first[0])).startswith("duplicate")
    assert choose_verdicts(EVENT, BEFORE, [first, second]) == [first[0]]
    verify_commit(EVENT, BEFORE, carrying(first[0], said(against=bytes(32))[0], said(gate="prose")[0]))


def test_in_an_event_by_invitation_only_who_takes_part_is_heard() -> None:
    key = identity(50)
    invited = event(gate=GATES, admission=Admission(mode="invited", key=key.peer_id))
    root = root_commit(invited)
    ancestry = Ancestry([root])
    stranger = said(9, event=invited.digest)
    assert choose_verdicts(invited, ancestry, [stranger]) == []
    assert choose_verdicts(invited, ancestry, [said(0, event=invited.digest)]) == [said(0, event=invited.digest)[0]]
    roster = tuple(sorted((*root.roster, root.roster[0].model_copy(update={"peer": identity(9).peer_id})), key=lambda m: m.peer))
    grown = Ancestry([changed(root, roster=roster)])
    assert choose_verdicts(invited, grown, [stranger]) == [stranger[0]]
    inside = Ancestry([root], None, Admitted({bytes(32): frozenset({identity(9).peer_id})}))
    assert choose_verdicts(invited, inside, [stranger]) == [stranger[0]]


@settings(max_examples=20, deadline=None)
@given(st.dictionaries(st.integers(0, 12), st.integers(1, 40), max_size=6))
def test_peers_take_turns_members_first_and_what_is_chosen_is_valid(counts: dict[int, int]) -> None:
    counts.pop(7, None)  # banned
    known = [said(peer, against=sha256(b"%d" % at)) for peer, count in counts.items() for at in range(count)]
    chosen = choose_verdicts(EVENT, BEFORE, known)
    verify_commit(EVENT, BEFORE, carrying(*chosen))
    assert len(chosen) == min(MAX_VERDICTS, len(known))
    members = {peer for peer in counts if identity(peer).peer_id in BEFORE.members}
    taken = {peer: sum(signed.signer == identity(peer).peer_id for signed in chosen) for peer in counts}
    for kind in (members, counts.keys() - members):
        short = [taken[peer] for peer in kind if taken[peer] < counts[peer]]
        assert all(taken[peer] <= min(short) + 1 for peer in kind if short)
    if any(taken[peer] < counts[peer] for peer in members):
        assert not any(taken[peer] for peer in counts.keys() - members)


def test_the_proposer_puts_in_what_it_knows_and_the_others_accept_it() -> None:
    net = Net(EVENT, [identity(number) for number in range(4)])
    for number, node in enumerate(net):
        node.boot()
        node.machine.know_verdicts([said(number, candidate=bytes(32))])
    net.run(lambda: min(net.rounds()) >= 2, 600)
    first, second = (next(iter(net)).history.at_round(round) for round in (1, 2))
    assert first is not None
    assert second is not None
    commits = [node.history.get(first) for node in net]
    assert all(commit is not None and len(commit.verdicts) == 1 for commit in commits)
    later = next(iter(net)).history.get(second)
    assert later is not None
    assert later.verdicts == ()
