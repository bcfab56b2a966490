"""The voting core: its rules one by one, and thousands of schedules with a faulty member."""

from __future__ import annotations

import pytest
from rounds.explorer import Disagreement, Draw, explore

from collab.protocol.committee import Committee
from collab.protocol.rounds.actions import Action, Decide, Exhaust, Lock, Propose, Schedule, Step, Turn, Verdict, Vote
from collab.protocol.rounds.voting import Voting

FOUR = Committee(("ann", "bob", "cat", "eve"))
FIRST, SECOND = Turn(0, 0), Turn(0, 1)
X, Y = b"x", b"y"


def member(name: str = "cat", committee: Committee = FOUR) -> Voting:
    voting = Voting(name, lambda epoch: committee, 4)
    voting.start()
    return voting


def said(actions: list[Action]) -> list[Action]:
    return [action for action in actions if not isinstance(action, Schedule)]


def locked_on_x() -> Voting:
    voting = member()
    voting.propose(FIRST, X, None)
    voting.judge(X, Verdict.SOUND)
    voting.vote(FIRST, "prevote", "ann", X)
    voting.vote(FIRST, "prevote", "bob", X)
    assert voting.locked == Lock(X, FIRST)
    return voting


def test_the_proposer_proposes_when_the_view_starts() -> None:
    voting = Voting("ann", lambda epoch: FOUR, 4)
    assert Propose(FIRST, None, None) in voting.start()


def test_a_sound_proposal_is_prevoted_once_replayed() -> None:
    voting = member()
    assert said(voting.propose(FIRST, X, None)) == []
    assert said(voting.judge(X, Verdict.SOUND)) == [Vote(FIRST, "prevote", X)]


@pytest.mark.parametrize("verdict", [Verdict.UNSOUND, Verdict.UNFAIR])
def test_a_wrong_or_unfair_proposal_is_prevoted_against(verdict: Verdict) -> None:
    voting = member()
    voting.propose(FIRST, X, None)
    assert said(voting.judge(X, verdict)) == [Vote(FIRST, "prevote", None)]


def test_an_unfair_proposal_that_a_quorum_supports_is_not_held_up() -> None:
    voting = member()
    voting.judge(X, Verdict.UNFAIR)
    voting.prove(Lock(X, FIRST))
    voting.timed_out(FIRST, Step.VIEW)
    assert said(voting.propose(SECOND, X, FIRST)) == [Vote(SECOND, "prevote", X)]


def test_more_than_two_thirds_of_prevotes_lock_and_precommit() -> None:
    voting = member()
    voting.propose(FIRST, X, None)
    voting.judge(X, Verdict.SOUND)
    voting.vote(FIRST, "prevote", "ann", X)
    assert voting.locked is None
    assert said(voting.vote(FIRST, "prevote", "bob", X)) == [Vote(FIRST, "precommit", X)]
    assert voting.locked == voting.valid == Lock(X, FIRST)


def test_a_locked_member_refuses_anything_new() -> None:
    voting = locked_on_x()
    voting.timed_out(FIRST, Step.PRECOMMIT)
    voting.judge(Y, Verdict.SOUND)
    assert said(voting.propose(SECOND, Y, None)) == [Vote(SECOND, "prevote", None)]


def test_a_later_proof_frees_a_locked_member() -> None:
    voting = locked_on_x()
    voting.timed_out(FIRST, Step.PRECOMMIT)
    voting.judge(Y, Verdict.SOUND)
    third = Turn(0, 2)
    voting.vote(third, "prevote", "ann", None)
    voting.vote(third, "prevote", "bob", None)
    assert said(voting.propose(third, Y, SECOND)) == []
    assert Vote(third, "prevote", Y) in voting.prove(Lock(Y, SECOND))


def test_a_proof_of_the_same_or_a_later_view_is_none() -> None:
    voting = member()
    voting.judge(X, Verdict.SOUND)
    voting.prove(Lock(X, FIRST))
    assert said(voting.propose(FIRST, X, FIRST)) == []


def test_a_proposer_that_knows_a_proven_commit_proposes_it_again() -> None:
    voting = Voting("bob", lambda epoch: FOUR, 4)
    voting.start()
    voting.propose(FIRST, X, None)
    voting.judge(X, Verdict.SOUND)
    voting.vote(FIRST, "prevote", "ann", X)
    voting.vote(FIRST, "prevote", "cat", X)
    assert said(voting.timed_out(FIRST, Step.PRECOMMIT)) == [Propose(SECOND, X, FIRST)]


def test_a_decision_needs_more_than_two_thirds() -> None:
    voting = member()
    voting.vote(FIRST, "precommit", "ann", X)
    voting.vote(FIRST, "precommit", "ann", X)
    voting.vote(FIRST, "precommit", "bob", X)
    voting.vote(FIRST, "precommit", "bob", Y)
    assert voting.decided is None
    assert Decide(X, FIRST) in voting.vote(FIRST, "precommit", "eve", X)


def test_a_decision_is_seconded_unless_something_else_was_said() -> None:
    late, silent = member(), member()
    silent.timed_out(FIRST, Step.PROPOSE)
    silent.timed_out(FIRST, Step.PREVOTE)
    votes = [late.vote(FIRST, "precommit", name, X) for name in ("ann", "bob", "eve")][-1]
    assert Vote(FIRST, "precommit", X) in votes
    again = [silent.vote(FIRST, "precommit", name, X) for name in ("ann", "bob", "eve")][-1]
    assert said(again) == [Decide(X, FIRST)]


def test_silence_is_prevoted_against_and_ends_the_view() -> None:
    voting = member()
    assert said(voting.timed_out(FIRST, Step.PROPOSE)) == [Vote(FIRST, "prevote", None)]
    voting.vote(FIRST, "prevote", "ann", None)
    assert said(voting.vote(FIRST, "prevote", "bob", None)) == [Vote(FIRST, "precommit", None)]
    voting.vote(FIRST, "precommit", "ann", None)
    voting.vote(FIRST, "precommit", "bob", None)
    assert voting.turn == SECOND


def test_a_view_ends_without_a_quorum_too_and_the_last_one_ends_the_epoch() -> None:
    voting = Voting("cat", lambda epoch: FOUR, 2)
    voting.start()
    voting.timed_out(FIRST, Step.VIEW)
    assert Exhaust(0) in voting.timed_out(SECOND, Step.VIEW)
    assert said(voting.propose(SECOND, X, None) + voting.judge(X, Verdict.SOUND)) == []


def test_an_epoch_whose_committee_is_absent_ends_early() -> None:
    voting = member()
    voting.timed_out(FIRST, Step.VIEW)
    assert Exhaust(0) in voting.timed_out(SECOND, Step.VIEW)


def test_timers_of_the_past_do_nothing() -> None:
    voting = member()
    voting.timed_out(FIRST, Step.VIEW)
    assert voting.timed_out(FIRST, Step.PROPOSE) == []


def test_two_members_in_a_later_view_take_us_along() -> None:
    voting = member()
    voting.vote(Turn(0, 2), "prevote", "ann", None)
    assert voting.turn == FIRST
    voting.vote(Turn(0, 2), "prevote", "bob", None)
    assert voting.turn == Turn(0, 2)


def test_a_new_epoch_starts_with_the_lock_that_was_shown() -> None:
    voting = member()
    lock = Lock(X, Turn(0, 3))
    voting.prove(lock)
    voting.judge(Y, Verdict.SOUND)
    voting.enter_epoch(1, lock)
    assert voting.locked == lock
    assert said(voting.propose(Turn(1, 0), Y, None)) == [Vote(Turn(1, 0), "prevote", None)]


def test_a_lock_that_is_not_proven_is_not_adopted() -> None:
    voting = member()
    voting.enter_epoch(1, Lock(X, Turn(0, 3)))
    assert voting.locked is None


def test_a_lock_outlives_its_epoch_and_the_forgetting_of_its_votes() -> None:
    voting = locked_on_x()
    voting.enter_epoch(2, None)
    voting.forget(1)
    assert voting.locked == Lock(X, FIRST)
    assert voting.proven(Lock(X, FIRST))


def test_an_observer_follows_without_a_vote() -> None:
    voting = member("dan")
    voting.propose(FIRST, X, None)
    assert said(voting.judge(X, Verdict.SOUND)) == []
    for name in ("ann", "bob"):
        voting.vote(FIRST, "precommit", name, X)
    assert said(voting.vote(FIRST, "precommit", "cat", X)) == [Decide(X, FIRST)]


def test_a_committee_of_one_decides_at_once() -> None:
    voting = Voting("ann", lambda epoch: Committee(("ann",)), 4)
    voting.start()
    voting.judge(X, Verdict.SOUND)
    assert Decide(X, FIRST) in voting.propose(FIRST, X, None)


def test_no_schedule_makes_two_commits_final_and_fair_days_end_every_one() -> None:
    turns = explore(Voting, schedules=1000)
    assert {turn.epoch for turn in turns} >= {0, 1, 2}
    assert turns[FIRST] < turns.total() / 2


class WithoutLocks(Voting):
    """Supports any sound proposal, whatever it precommitted before."""

    def _supports(self, commit: bytes, proof: Turn | None, verdict: Verdict) -> bool:
        return verdict is Verdict.SOUND


class Forgetful(Voting):
    """Forgets its lock when a new committee is drawn."""

    def enter_epoch(self, epoch: int, shown: Lock | None) -> list[Action]:
        self.locked = self.valid = None
        return super().enter_epoch(epoch, None)


class Half(Committee):
    """Takes half of the committee for a quorum."""

    @property
    def quorum(self) -> int:
        return 2


class HalfQuorum(Voting):
    """Decides with half of the committee."""

    def __init__(self, me: str, draw: Draw, views: int) -> None:
        super().__init__(me, lambda epoch: Half(draw(epoch).members), views)


@pytest.mark.parametrize("broken", [WithoutLocks, Forgetful, HalfQuorum])
def test_the_explorer_finds_what_is_broken(broken: type[Voting]) -> None:
    with pytest.raises(Disagreement):
        explore(broken, schedules=2000)
