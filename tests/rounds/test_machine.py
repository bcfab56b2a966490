"""The round machine, rule by rule: one node, and the others' words made by hand."""

from __future__ import annotations

from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rounds.worlds import contribution, draft_on, event, finality, identity, signed_contribution

from collab.protocol.canonical import encode
from collab.protocol.commit import Certificate, Commit
from collab.protocol.errors import LocalProtocolError
from collab.protocol.event import Admission, EventManifest, InnerOptimiser, Rounds
from collab.protocol.history import History
from collab.protocol.merging import make_draft
from collab.protocol.messages import (
    MESSAGES,
    Attestation,
    Blob,
    Contribution,
    Exhausted,
    Goodbye,
    Message,
    Progress,
    Proof,
    Proposal,
    Signed,
)
from collab.protocol.record import sha256
from collab.protocol.rounds import effects as do
from collab.protocol.rounds.machine import RoundMachine
from collab.protocol.rounds.phases import Phase
from collab.protocol.rounds.state import VotingState

E = TypeVar("E")
STATE = sha256(b"merged")
FOUR = (0, 1, 2, 3)


def history_of(manifest: EventManifest, numbers: tuple[int, ...] = FOUR) -> History:
    """A history whose head has these identities on its roster."""
    history = History(manifest)
    first = draft_on(manifest, history.ancestry(history.root.digest), None, list(numbers)).complete(STATE, 1)
    history.add(first, finality(manifest, history.root, first))
    return history


class Bench:
    """A machine under test, with its own node's place among the proposers chosen, and every effect kept."""

    def __init__(self, place: int = 0, *, manifest: EventManifest | None = None, trains: bool = True) -> None:
        self.event = manifest or event()
        self.history = history_of(self.event)
        self.base = self.history.head
        self.order = self.committee(0)
        self.me = self.order[place]
        self.trains = trains
        self.machine = self.boot(None)

    def boot(self, state: VotingState | None, sequence: int = 0) -> RoundMachine:
        return RoundMachine(
            self.history,
            self.base.digest,
            identity(self.me),
            trains=self.trains,
            payload_limit=5000,
            state=state,
            sequence=sequence,
        )

    def committee(self, epoch: int) -> list[int]:
        members = RoundMachine(self.history, self.base.digest, identity(0), trains=True, payload_limit=1).setting.committee(epoch)
        numbers = {identity(number).peer_id: number for number in FOUR}
        return [numbers[peer] for peer in members.members]

    def hear(self, number: int, message: Message, now: float = 1.0) -> list[do.Effect]:
        return self.machine.receive(Signed.seal(identity(number), message), now)

    def claim(self, number: int, now: float = 1.0, *, norm: float | str = 1.0, **changes: Any) -> list[do.Effect]:
        """A contribution arrives and its payload is checked."""
        signed, _ = signed_contribution(self.event, self.base, number, **changes)
        return self.machine.receive(signed, now) + self.machine.checked(signed.digest, norm, now)

    def progress(self, number: int, now: float = 1.0, **changes: Any) -> list[do.Effect]:
        fields: dict[str, Any] = {
            "event": self.event.digest, "base": self.base.digest, "round": self.base.round, "samples": 10, "steps": 5,
            "loss": 2.0, "rate": 1.0, "trains": True, "done": False, "sequence": 1,
        }  # fmt: skip
        return self.hear(number, Progress(**(fields | changes)), now)

    def contribute(self, now: float = 1.0) -> list[do.Effect]:
        """Our own contribution, checked."""
        claim = contribution(self.event, self.base, self.me.to_bytes(4, "big"))
        effects = self.machine.contributed(claim, now)
        return effects + self.machine.checked(sends(effects, Contribution)[0].digest, 1.0, now)

    def commit(self, numbers: list[int], proposer: int) -> Commit:
        ancestry = self.history.ancestry(self.base.digest)
        return draft_on(self.event, ancestry, self.history.certificate(self.base.digest), numbers, proposer).complete(STATE, 2)

    def propose(self, commit: Commit, view: int = 0, now: float = 10.0, proof: Proof | None = None) -> list[do.Effect]:
        """The proposer of a view proposes; the commit is fetched and replays well."""
        blob = Blob(sha256=commit.digest, size=len(commit.encode()))
        proposal = Proposal(event=self.event.digest, base=self.base.digest, epoch=0, view=view, commit=blob, proof=proof)
        effects = self.hear(self.order[view % 4], proposal, now)
        effects += self.machine.commit_fetched(commit, now)
        return effects + self.machine.replayed(commit.digest, None, now)

    def attest(self, number: int, stage: Any, commit: bytes | None, view: int = 0, now: float = 10.0) -> list[do.Effect]:
        return self.hear(number, self.attestation(stage, commit, view), now)

    def attestation(self, stage: Any, commit: bytes | None, view: int = 0) -> Attestation:
        return Attestation(event=self.event.digest, base=self.base.digest, epoch=0, view=view, stage=stage, commit=commit)


def of(effects: list[do.Effect], kind: type[E]) -> list[E]:
    return [effect for effect in effects if isinstance(effect, kind)]


def sends(effects: list[do.Effect], kind: type[Message]) -> list[Signed]:
    return [effect.signed for effect in of(effects, do.Send) if effect.signed.kind == kind.KIND]


def votes(effects: list[do.Effect]) -> list[tuple[str, bytes | None]]:
    opened = [signed.open_as(Attestation) for signed in sends(effects, Attestation)]
    return [(attestation.stage, attestation.commit) for attestation in opened]


def reasons(effects: list[do.Effect]) -> list[str]:
    return [refused.reason for refused in of(effects, do.Refused)]


def started(place: int = 1, **options: Any) -> Bench:
    bench = Bench(place, **options)
    bench.machine.start(0.0)
    return bench


# Training closes


def test_claims_of_made_up_keys_do_not_crowd_out_those_of_members(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collab.protocol.rounds.pool.MAX_CLAIMS", 10)
    bench = started()
    for number in range(50, 70):
        bench.claim(number)
    assert len(bench.machine.claims) == 10
    for number in bench.order:
        bench.claim(number) if number != bench.me else bench.contribute()
    signers = {claim.signed.signer for claim in bench.machine.claims}
    assert {identity(number).peer_id for number in bench.order} <= signers
    assert len(signers) == 10


def test_training_closes_by_our_own_steps() -> None:
    bench = started()
    assert of(bench.machine.progress(20, 10, 2.0, 1.0, 1.0), do.CloseTraining) == [do.CloseTraining("steps")]
    assert bench.machine.phase is Phase.COLLECTING
    assert of(bench.machine.progress(20, 10, 2.0, 1.0, 2.0, done=True), do.CloseTraining) == []


def test_training_closes_by_the_swarms_samples() -> None:
    bench = started(manifest=event(Rounds(target_samples=100), inner=InnerOptimiser(batch=2, steps=25)))
    one, two, three = (bench.order[place] for place in (0, 2, 3))
    bench.progress(one, samples=40)
    bench.progress(two, samples=40)
    assert bench.progress(two, samples=50, sequence=1) == []
    assert of(bench.progress(three, samples=20), do.CloseTraining) == [do.CloseTraining("target")]


def test_nobody_closes_training_with_samples_that_a_round_does_not_have() -> None:
    bench = started(manifest=event(Rounds(target_samples=100)))
    most = bench.event.inner.steps * bench.event.inner.batch
    assert reasons(bench.progress(5, samples=1 << 61)) == ["implausible"]
    assert reasons(bench.progress(5, samples=most + 1)) == ["implausible"]
    assert reasons(bench.progress(5, samples=most)) == []
    assert bench.machine.phase is Phase.TRAINING


def test_who_was_not_invited_does_not_close_training() -> None:
    admission = Admission(mode="invited", key=identity(9).peer_id)
    bench = started(manifest=event(Rounds(target_samples=30)))
    invited = event(Rounds(target_samples=30), admission=admission)
    assert of(bench.progress(5, samples=20) + bench.progress(6, samples=20), do.CloseTraining)
    history = History(invited)
    machine = RoundMachine(history, history.root.digest, identity(0), trains=True, payload_limit=1)
    machine.start(0.0)
    for number in (5, 6):
        progress = Progress(
            event=invited.digest, base=history.root.digest, round=0, samples=20, steps=10, loss=2.0, rate=1.0, trains=True,
            done=False, sequence=1,
        )  # fmt: skip
        assert machine.receive(Signed.seal(identity(number), progress), 1.0) == []
    assert machine.phase is Phase.TRAINING


def test_who_is_slower_hands_in_what_it_has_while_the_committee_still_collects() -> None:
    bench = started()
    bench.machine.progress(6, 3, 2.0, 1.0, 2.0)
    for place, now in ((0, 3.0), (2, 4.0)):
        bench.claim(bench.order[place], now)
    assert bench.machine.closes_at == 60.0  # two of four decide nothing
    assert of(bench.progress(bench.order[3], 5.0, done=True), do.CloseTraining) == []
    assert bench.machine.closes_at == 5.0 + bench.event.rounds.collect / 2
    for now in (7.0, 7.5):
        closed = of(bench.machine.tick(now), do.CloseTraining)
    assert closed == [do.CloseTraining("awaited")]
    assert bench.machine.closes_at == 7.5 + bench.event.rounds.collect


def test_who_has_nothing_yet_hands_it_in_with_the_first_step() -> None:
    bench = started()
    for place in (0, 2, 3):
        bench.claim(bench.order[place], 3.0)
    assert of(bench.machine.tick(9.0), do.CloseTraining) == []
    assert of(bench.machine.progress(2, 1, 2.0, 1.0, 10.0), do.CloseTraining) == [do.CloseTraining("awaited")]


def test_training_closes_by_the_deadline_and_not_by_others_contributions() -> None:
    bench = started()
    for place in (0, 2, 3):
        assert of(bench.claim(bench.order[place]), do.CloseTraining) == []
    assert bench.machine.next_deadline() is not None
    assert of(bench.machine.tick(59.0), do.CloseTraining) == []
    assert of(bench.machine.tick(60.0), do.CloseTraining) == [do.CloseTraining("deadline")]


def test_a_node_that_does_not_train_closes_with_the_others() -> None:
    bench = started(trains=False)
    bench.progress(bench.order[0])
    assert of(bench.progress(bench.order[0], done=True, sequence=2), do.CloseTraining) == [do.CloseTraining("others")]


# Collecting


def test_the_proposer_builds_when_everyone_has_contributed() -> None:
    bench = started(0)
    bench.progress(bench.order[1])
    assert of(bench.contribute(), do.BuildCommit) == []
    (build,) = of(bench.claim(bench.order[1]), do.BuildCommit)
    assert len(build.draft.parts) == 2
    effects = bench.machine.built(build.draft.key, STATE, 5, 2.0)
    assert [type(effect) for effect in effects[:3]] == [do.KeepCommit, do.Persist, do.Send]
    assert votes(effects) == [("prevote", build.draft.complete(STATE, 5).digest)]


def test_the_proposer_does_not_wait_for_ever_nor_for_who_left() -> None:
    late, left, silent = started(0), started(0), started(0)
    for bench in (late, left, silent):
        bench.progress(bench.order[1])
        bench.contribute()
    assert of(late.machine.tick(6.1), do.BuildCommit)
    goodbye = Goodbye(event=left.event.digest, base=left.base.digest, round=left.base.round)
    (build,) = of(left.hear(left.order[1], goodbye, 2.0), do.BuildCommit)
    assert len(build.draft.commit.departed) == 1
    assert identity(left.order[1]).peer_id not in {member.peer for member in build.draft.commit.roster}


def test_nothing_is_proposed_without_a_contribution() -> None:
    bench = started(0, trains=False)
    for now in (60.0, 70.0, 500.0):
        assert of(bench.machine.tick(now), do.BuildCommit) == []
    assert bench.machine.phase is Phase.COLLECTING
    assert of(bench.claim(bench.order[1], 501.0), do.BuildCommit)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"samples": 10**6}, "implausible"),
        ({"payload": Blob(sha256=STATE, size=5001)}, "oversized"),
        ({"base": STATE}, None),
        ({"round": 9}, "wrong_round"),
        ({"event": STATE}, "wrong_event"),
    ],
)
def test_contributions_are_refused_with_a_reason(changes: dict[str, Any], reason: str | None) -> None:
    bench = started()
    signed, _ = signed_contribution(bench.event, bench.base, bench.order[0], **changes)
    effects = bench.machine.receive(signed, 1.0)
    assert reasons(effects) == [reason or "unknown_base"]
    assert of(effects, do.CheckPayload) == []
    assert bool(of(effects, do.Behind)) == (reason is None)


def test_of_two_contributions_neither_counts() -> None:
    bench = started(0)
    liar = bench.order[1]
    bench.claim(liar)
    assert reasons(bench.claim(liar, loss=1.0)) == ["equivocation"]
    (build,) = of(bench.contribute(), do.BuildCommit)
    assert [rejected.reason for rejected in build.draft.commit.rejected] == ["equivocation"] * 2
    assert len(build.draft.parts) == 1


def test_a_bad_payload_is_recorded_and_an_unavailable_one_is_tried_again() -> None:
    bench = started(0)
    assert reasons(bench.claim(bench.order[1], norm="bad_payload")) == ["bad_payload"]
    assert reasons(bench.claim(bench.order[2], norm="unavailable")) == ["unavailable"]
    signed, _ = signed_contribution(bench.event, bench.base, bench.order[2])
    assert of(bench.machine.receive(signed, 2.0), do.CheckPayload)
    bench.machine.checked(signed.digest, 1.0, 2.5)
    (build,) = of(bench.contribute(3.0), do.BuildCommit)
    assert [rejected.reason for rejected in build.draft.commit.rejected] == ["bad_payload"]
    assert len(build.draft.parts) == 2


# Voting


def test_a_round_from_proposal_to_finality() -> None:
    bench = started()
    everyone = bench.order
    for number in everyone:
        bench.contribute() if number == bench.me else bench.claim(number)
    commit = bench.commit(everyone, everyone[0])
    assert votes(bench.propose(commit)) == [("prevote", commit.digest)]
    bench.attest(everyone[0], "prevote", commit.digest)
    effects = bench.attest(everyone[2], "prevote", commit.digest)
    assert votes(effects) == [("precommit", commit.digest)]
    assert isinstance(effects[0], do.Persist)
    bench.attest(everyone[0], "precommit", commit.digest)
    (final,) = of(bench.attest(everyone[2], "precommit", commit.digest), do.Finalise)
    assert bench.machine.phase is Phase.FINAL
    assert bench.machine.next_deadline() is None
    assert bench.history.add(final.commit, final.certificate)


def test_an_omission_is_voted_against_and_the_contribution_passed_on() -> None:
    bench = started()
    left_out = bench.order[3]
    bench.claim(left_out, now=1.0)
    effects = bench.propose(bench.commit([bench.order[0]], bench.order[0]), now=10.0)
    assert votes(effects) == [("prevote", None)]
    assert reasons(effects) == ["omitted"]
    assert sends(effects, Contribution) == [signed_contribution(bench.event, bench.base, left_out)[0]]


def test_what_came_too_late_for_the_proposer_is_no_omission() -> None:
    bench = started()
    bench.claim(bench.order[3], now=9.0)
    commit = bench.commit([bench.order[0]], bench.order[0])
    assert votes(bench.propose(commit, now=10.0)) == [("prevote", commit.digest)]


def test_another_state_hash_is_voted_against() -> None:
    bench = started()
    commit = bench.commit([bench.order[0]], bench.order[0])
    blob = Blob(sha256=commit.digest, size=len(commit.encode()))
    proposal = Proposal(event=bench.event.digest, base=bench.base.digest, epoch=0, view=0, commit=blob, proof=None)
    bench.hear(bench.order[0], proposal)
    bench.machine.commit_fetched(commit, 10.0)
    effects = bench.machine.replayed(commit.digest, "state_mismatch", 10.0)
    assert votes(effects) == [("prevote", None)]
    assert of(effects, do.Refused) == [do.Refused(identity(bench.order[0]).peer_id, "state_mismatch")]


def test_a_commit_that_breaks_a_rule_is_not_even_replayed() -> None:
    bench = started()
    commit = bench.commit([bench.order[0]], bench.order[0])
    wrong = Commit(**({name: getattr(commit, name) for name in Commit.model_fields} | {"samples": 1}))
    effects = bench.propose(wrong)
    assert of(effects, do.ReplayCommit) == []
    assert votes(effects) == [("prevote", None)]
    assert reasons(effects) == ["wrong_samples"]


def refusing(bench: Bench, number: int, reason: str) -> Commit:
    ancestry = bench.history.ancestry(bench.base.digest)
    return make_draft(
        bench.event, ancestry, accepted=[(*signed_contribution(bench.event, bench.base, bench.order[0]), 1.0)],
        rejected=[(signed_contribution(bench.event, bench.base, number)[0], reason)], departed=[],
        certificate=bench.history.certificate(bench.base.digest), proposer=identity(bench.order[0]).peer_id,
    ).complete(STATE, 2)  # fmt: skip


@pytest.mark.parametrize(
    ("ours", "theirs", "agreed"),
    [
        ("bad_payload", "bad_payload", True),
        ("unavailable", "unavailable", True),
        ("bad_payload", "unavailable", True),
        (1.0, "unavailable", False),
        (1.0, "bad_payload", False),
        ("unavailable", "bad_payload", False),
    ],
)
def test_a_refusal_must_be_one_that_we_share(ours: float | str, theirs: str, agreed: bool) -> None:
    bench = started()
    bench.claim(bench.order[3], norm=ours)
    commit = refusing(bench, bench.order[3], theirs)
    assert votes(bench.propose(commit)) == [("prevote", commit.digest if agreed else None)]


def test_a_refusal_of_what_we_have_not_seen_is_checked_first() -> None:
    bench = started()
    commit = refusing(bench, bench.order[3], "bad_payload")
    effects = bench.propose(commit)
    (check,) = of(effects, do.CheckPayload)
    assert votes(effects) == []
    assert votes(bench.machine.checked(check.signed.digest, "bad_payload", 11.0)) == [("prevote", commit.digest)]


def test_a_payload_that_trickles_in_stalls_no_vote() -> None:
    """Its peer sends a byte now and then, so the check of it ends long after the view; the proposer could not have it either."""
    bench = started()
    slow, _ = signed_contribution(bench.event, bench.base, bench.order[3])
    assert of(bench.machine.receive(slow, 1.0), do.CheckPayload)
    commit = refusing(bench, bench.order[3], "unavailable")
    assert votes(bench.propose(commit)) == [("prevote", commit.digest)]


def test_only_the_views_proposer_proposes_and_only_members_vote() -> None:
    bench = started()
    commit = bench.commit([bench.order[0]], bench.order[0])
    blob = Blob(sha256=commit.digest, size=len(commit.encode()))
    proposal = Proposal(event=bench.event.digest, base=bench.base.digest, epoch=0, view=0, commit=blob, proof=None)
    assert reasons(bench.hear(bench.order[2], proposal)) == ["not_the_proposer"]
    assert reasons(bench.attest(9, "prevote", None)) == ["not_a_member"]
    assert reasons(bench.attest(bench.order[0], "prevote", None, view=99)) == ["no_such_view"]
    bench.attest(bench.order[0], "prevote", None)
    assert reasons(bench.attest(bench.order[0], "prevote", commit.digest)) == ["equivocation"]


def test_a_proof_that_proves_nothing_is_refused() -> None:
    bench = started()
    commit = bench.commit([bench.order[1]], bench.order[1])
    blob = Blob(sha256=commit.digest, size=len(commit.encode()))
    prevotes = [Signed.seal(identity(number), bench.attestation("prevote", commit.digest)).encode() for number in bench.order[:2]]
    strangers = Signed.seal(identity(9), bench.attestation("prevote", commit.digest)).encode()
    for envelopes in (prevotes, [prevotes[0]] * 3, [*prevotes, strangers]):
        proof = Proof(epoch=0, view=0, commit=blob, prevotes=tuple(envelopes))
        proposal = Proposal(event=bench.event.digest, base=bench.base.digest, epoch=0, view=2, commit=blob, proof=proof)
        assert reasons(bench.hear(bench.order[2], proposal)) == ["bad_proof"]


def test_a_refused_proof_leaves_no_wrong_size_behind() -> None:
    """What we lock we propose again, and with a wrong size nobody who lacks it could fetch it."""
    bench = started()
    commit = bench.commit([bench.order[1]], bench.order[0])
    wrong = Proof(epoch=0, view=0, commit=Blob(sha256=commit.digest, size=7), prevotes=())
    farewell = Exhausted(event=bench.event.digest, base=bench.base.digest, epoch=0, locked=wrong)
    assert reasons(bench.hear(bench.order[2], farewell)) == ["bad_proof"]
    bench.propose(commit)
    for number in (bench.order[0], bench.order[2], bench.order[3]):
        bench.attest(number, "prevote", commit.digest)
    now, again = 10.0, list[Signed]()
    while not again:
        now = max(now, bench.machine.next_deadline() or now)
        again = sends(bench.machine.tick(now), Proposal)
    assert again[0].open_as(Proposal).commit == Blob(sha256=commit.digest, size=len(commit.encode()))


# Epochs


def exhausted(bench: Bench, epoch: int = 0) -> Exhausted:
    return Exhausted(event=bench.event.digest, base=bench.base.digest, epoch=epoch, locked=None)


def test_more_than_half_of_the_roster_draws_a_new_committee() -> None:
    bench = started()
    bench.hear(bench.order[0], exhausted(bench))
    bench.hear(bench.order[2], exhausted(bench))
    assert bench.machine.poll.voting.turn == (0, 0)
    bench.hear(bench.order[3], exhausted(bench))
    assert bench.machine.poll.voting.turn == (1, 0)
    assert reasons(bench.hear(9, exhausted(bench))) == ["not_a_member"]


def test_a_node_whose_views_all_passed_asks_for_a_new_committee() -> None:
    bench = started()
    bench.contribute()
    effects: list[do.Effect] = []
    now = 1.0
    while not sends(effects, Exhausted):
        due = bench.machine.next_deadline()
        assert due is not None
        now = max(now, due)
        effects = bench.machine.tick(now)
    assert 20.0 < now < 60.0
    assert isinstance(next(effect for effect in effects if isinstance(effect, do.Persist)), do.Persist)


# Restarts


def test_a_restarted_node_says_the_same_again_and_nothing_else() -> None:
    bench = started()
    commit, other = bench.commit([bench.order[0]], bench.order[0]), bench.commit([bench.order[2]], bench.order[0])
    effects = bench.propose(commit)
    state = of(effects, do.Persist)[-1].state
    bench.machine = bench.boot(state, sequence=1000)
    bench.machine.start(11.0)
    assert votes(bench.propose(other, now=12.0)) == []
    repeated = bench.machine.tick(14.0)
    assert votes(repeated) == [("prevote", commit.digest)]
    assert sends(repeated, Attestation) == sends(effects, Attestation)


def test_a_restarted_node_keeps_its_lock() -> None:
    bench = started()
    commit = bench.commit([bench.order[0]], bench.order[0])
    bench.propose(commit)
    bench.attest(bench.order[0], "prevote", commit.digest)
    state = of(bench.attest(bench.order[2], "prevote", commit.digest), do.Persist)[-1].state
    bench.machine = bench.boot(VotingState.decode(state.encode()), sequence=1000)
    bench.machine.start(11.0)
    locked = bench.machine.poll.voting.locked
    assert locked is not None
    assert locked.commit == commit.digest
    other = bench.commit([bench.order[2]], bench.order[2])
    for number in (bench.order[0], bench.order[3]):
        bench.attest(number, "prevote", None, view=2)
    assert votes(bench.propose(other, view=2, now=12.0))[0] == ("prevote", None)


def test_a_restarted_node_contributes_nothing_else_on_the_same_base() -> None:
    bench = started()
    state = of(bench.contribute(), do.Persist)[-1].state
    bench.machine = bench.boot(state, sequence=1000)
    bench.machine.start(5.0)
    assert bench.machine.contribution is not None
    with pytest.raises(LocalProtocolError):
        bench.machine.contributed(contribution(bench.event, bench.base, b"another"), 6.0)


def test_a_state_of_another_round_is_refused() -> None:
    bench = started()
    state = of(bench.contribute(), do.Persist)[-1].state
    with pytest.raises(LocalProtocolError):
        RoundMachine(bench.history, bench.history.root.digest, identity(0), trains=True, payload_limit=1, state=state)


# Others


def test_peers_on_another_base_are_behind_or_ahead_once_an_interval() -> None:
    bench = started()
    assert of(bench.progress(5, base=STATE, round=7), do.Behind) == [do.Behind(identity(5).peer_id, STATE, 7)]
    assert bench.progress(5, base=STATE, round=7, now=1.5, sequence=2) == []
    older = bench.history.root.digest
    assert bench.progress(6, base=older, round=0) == [do.Ahead(identity(6).peer_id)]


def test_a_late_precommit_earns_its_place_on_the_roster() -> None:
    bench = started()
    commit = bench.commit(bench.order, bench.order[0])
    whole = finality(bench.event, bench.base, commit)
    fields = {name: getattr(whole, name) for name in Certificate.model_fields}
    bench.history.add(commit, Certificate(**(fields | {"precommits": whole.precommits[:3]})))
    before, bench.base = bench.base, commit
    bench.machine = bench.boot(None)
    late = Attestation(
        event=bench.event.digest, base=before.digest, epoch=0, view=0, stage="precommit", commit=commit.digest
    )
    bench.hear(9, late)
    assert bench.machine.certificate != whole
    for number in FOUR:
        bench.hear(number, late)
    bench.machine.receive(Signed.decode(whole.precommits[3]), 1.0)
    assert bench.machine.certificate == whole


def test_our_words_are_sent_again_until_the_round_is_final() -> None:
    bench = started()
    bench.contribute()
    again = bench.machine.tick(3.1)
    assert len(sends(again, Contribution)) == 1
    assert sends(again, Progress)[0].open_as(Progress).done


def test_a_goodbye_is_signed() -> None:
    bench = started()
    (signed,) = sends(bench.machine.goodbye(2.0), Goodbye)
    assert signed.open_as(Goodbye).base == bench.base.digest


def test_who_is_present_was_heard_of_lately_trains_or_not_and_did_not_leave() -> None:
    bench = started(0)
    one, other = (identity(number).peer_id for number in bench.order[1:3])
    bench.progress(bench.order[1], trains=False)
    bench.progress(bench.order[2])
    assert bench.machine.present == {one, other}
    assert bench.machine.training_peers.keys() == {other}
    bench.hear(bench.order[2], Goodbye(event=bench.event.digest, base=bench.base.digest, round=bench.base.round))
    assert bench.machine.present == {one}
    bench.machine.tick(1.0 + bench.machine.setting.silence + 0.1)
    assert bench.machine.present == frozenset()


def test_our_own_progress_is_what_the_others_hear() -> None:
    bench = started()
    bench.machine.progress(6, 3, 2.5, 4.0, 2.0)
    ours = bench.machine.own_progress
    assert (ours.samples, ours.steps, ours.loss, ours.rate, ours.trains, ours.done) == (6, 3, 2.5, 4.0, True, False)
    bench.contribute()
    assert bench.machine.own_progress.done


# Hostile input

ANY = st.recursive(
    st.none() | st.booleans() | st.integers(0, 1 << 41) | st.binary(max_size=40) | st.sampled_from(["prevote", "precommit", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
BENCH = started()


@st.composite
def garbage(draw: st.DrawFn) -> Signed:
    """A signed message of any kind, with some right fields and some of any value."""
    kind = draw(st.sampled_from([*MESSAGES, "gossip"]))
    right = {
        "event": st.just(BENCH.event.digest),
        "base": st.sampled_from([BENCH.base.digest, BENCH.history.root.digest, STATE]),
        "epoch": st.integers(0, 3),
        "view": st.integers(0, 5),
        "stage": st.sampled_from(["prevote", "precommit"]),
        "commit": st.none() | st.just(STATE) | st.just({"sha256": STATE, "size": 5}),
        "round": st.integers(0, 2),
        "sequence": st.integers(0, 9),
    }
    fields = MESSAGES[kind].model_fields if kind in MESSAGES else {}
    body = {name: draw(right[name]) if name in right and draw(st.integers(0, 9)) else draw(ANY) for name in fields}
    raw = draw(st.binary(max_size=60)) if draw(st.integers(0, 9)) == 0 else encode(body)
    author = identity(draw(st.integers(0, 9)))
    unsigned = Signed(kind=kind, signer=author.peer_id, body=raw, signature=bytes(64))
    if draw(st.integers(0, 9)) == 0:
        return unsigned
    signature = author.sign(b"collab-node/message/1\0" + encode([kind, author.peer_id, raw]))
    return Signed(kind=kind, signer=author.peer_id, body=raw, signature=signature)


@settings(max_examples=40)
@given(st.lists(garbage(), max_size=12), st.floats(0, 100))
def test_nothing_that_anyone_signs_makes_the_machine_raise(messages: list[Signed], now: float) -> None:
    machine = BENCH.boot(None)
    machine.start(0.0)
    for signed in messages:
        machine.receive(signed, now)
        machine.tick(now)
