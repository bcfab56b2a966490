"""A round that does not end says what it lacks: trainers, contributions, members of the committee; else nothing."""

from __future__ import annotations

import pytest
from rounds.worlds import draft_on, event, finality, identity, signed_contribution

from collab.node.display.waiting import waits_for
from collab.protocol.event import Rounds
from collab.protocol.history import History
from collab.protocol.messages import Progress, Signed
from collab.protocol.record import sha256
from collab.protocol.rounds.machine import RoundMachine
from collab.protocol.rounds.phases import Phase

ROUNDS = Rounds(deadline=60.0, collect=5.0, view=4.0, min_contributors=3)


class Watched:
    """A round of an event with `members` on the roster, seen by a node that does not train."""

    def __init__(self, members: int, me: int = 0) -> None:
        self.event = event(ROUNDS)
        history = History(self.event)
        draft = draft_on(self.event, history.ancestry(history.root.digest), None, list(range(members)))
        first = draft.complete(sha256(b"merged"), 1)
        history.add(first, finality(self.event, history.root, first))
        self.base, self.said = first, 0
        self.machine = RoundMachine(history, first.digest, identity(me), trains=False, payload_limit=5000)
        self.machine.start(0.0)

    def trains(self, number: int, now: float) -> None:
        self.said += 1
        self.machine.receive(Signed.seal(identity(number), Progress(
            event=self.event.digest, base=self.base.digest, round=self.base.round, samples=10, steps=5, loss=2.0, rate=1.0,
            trains=True, done=False, sequence=self.said,
        )), now)  # fmt: skip

    def contributes(self, number: int, now: float) -> None:
        signed, _ = signed_contribution(self.event, self.base, number)
        self.machine.receive(signed, now)
        self.machine.checked(signed.digest, 1.0, now)

    def says(self, now: float) -> str:
        self.machine.tick(now)
        return waits_for(self.machine, 0.0, now)


@pytest.fixture
def watched() -> Watched:
    return Watched(4)


def test_a_round_in_which_nobody_trains(watched: Watched) -> None:
    assert watched.says(1.0) == ""  # nobody has had the time to say that they do
    assert watched.says(20.0) == "nobody trains: the round goes on when somebody joins"
    watched.trains(1, 21.0)
    assert watched.says(22.0) == ""


def test_a_round_with_too_few_contributions(watched: Watched) -> None:
    watched.trains(1, 55.0)
    assert watched.says(61.0) == ""  # they may still come
    watched.contributes(1, 62.0)
    assert watched.machine.lacking == 0
    assert watched.says(66.0) == "a merge needs 3 contributions and 1 is here: the round goes on when 2 more come"
    watched.contributes(2, 67.0)
    assert watched.says(68.0) == "a merge needs 3 contributions and 2 are here: the round goes on when 1 more comes"
    watched.contributes(3, 69.0)
    assert watched.machine.phase is Phase.VOTING


def test_a_committee_that_is_not_here(watched: Watched) -> None:
    for number in (1, 2, 3):
        watched.trains(number, 1.0)
        watched.contributes(number, 2.0)
    assert watched.machine.phase is Phase.VOTING
    assert watched.machine.committee_here == 4
    assert watched.says(3.0) == ""
    watched.trains(1, 50.0)
    assert watched.says(51.0).startswith("3 of the 4 on the committee have to agree and 2 are here: the round goes on when")


def test_a_coordinator_who_decides_alone_and_is_gone() -> None:
    watched = Watched(3, me=1)
    for number in (0, 2, 3):
        watched.contributes(number, 2.0)
    watched.trains(2, 19.0)
    assert watched.says(20.0).startswith("the only member of the committee is not here: ")
