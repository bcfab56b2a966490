"""Explores interleavings of the voting core: four members, one of them faulty, any order of messages, verdicts and timers.

A schedule is a seeded random walk. At every step something in flight reaches a member (in no order, perhaps never), or a timer
fires (however early), or the faulty member says something to one of the others: it proposes two commits, or one that replays to
something else, votes for both and for nothing, claims proofs that it has not, and asks for new committees. After the walk come
fair days: what was said is heard by everyone, timers fire only when nothing is under way, and everyone must decide the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from collab.protocol.committee import Committee
from collab.protocol.rounds.actions import Action, Decide, Exhaust, Lock, Propose, Schedule, Stage, Step, Turn, Verdict, Vote
from collab.protocol.rounds.voting import Voting

MEMBERS = ("ann", "bob", "cat", "eve")
FAULTY = "eve"
HONEST = tuple(member for member in MEMBERS if member != FAULTY)
MAJORITY = len(MEMBERS) // 2 + 1
VIEWS = 2
WRONG = b"wrong"
FORGED = (b"eve 1", b"eve 2", WRONG)

Prevote = tuple[Turn, Stage, str, bytes | None]


class Disagreement(AssertionError):
    """Two honest members decided different commits, or one a wrong one."""


class Stall(AssertionError):
    """Fair days did not end in a decision."""


@dataclass(frozen=True)
class Message:
    """A proposal, a vote or a wish for a new committee, with the prevotes that come along as a proof."""

    sender: str
    turn: Turn
    kind: str
    commit: bytes | None
    proof: Turn | None = None
    prevotes: tuple[Prevote, ...] = ()


@dataclass
class Member:
    """An honest member and what it knows beside the core: as `rounds.poll` has it."""

    voting: Voting
    timers: set[tuple[Turn, Step]] = field(default_factory=set)
    ended: dict[str, int] = field(default_factory=dict)
    shown: Lock | None = None


Draw = Callable[[int], Committee]

Core = Callable[[str, Draw, int], Voting]


def drawing(order: tuple[str, ...]) -> Draw:
    """The same four in every epoch, proposing in turn."""

    def draw(epoch: int) -> Committee:
        shift = epoch * VIEWS % len(order)
        return Committee(order[shift:] + order[:shift])

    return draw


class Walk:
    """One walk through the space of schedules."""

    def __init__(self, seed: int, core: Core) -> None:
        self.random = Random(seed)
        draw = drawing(tuple(self.random.sample(MEMBERS, len(MEMBERS))))
        self.members = {name: Member(core(name, draw, VIEWS)) for name in HONEST}
        self.heard: dict[tuple[str, int], Message] = {}
        self.in_flight: list[tuple[str, Message]] = []
        self.verdicts: list[tuple[str, bytes]] = []
        self.said: list[Message] = []
        self.prevotes: set[Prevote] = set()

    def run(self, steps: int) -> None:
        """Walk, then let fair days come. Raises Disagreement or Stall."""
        for name, member in self.members.items():
            self._do(name, member.voting.start())
        for _ in range(steps):
            self._step()
        self._fair_days()

    def _step(self) -> None:
        choice = self.random.random()
        if choice < 0.55 and self.in_flight:
            self._deliver(*self.in_flight.pop(self.random.randrange(len(self.in_flight))))
        elif choice < 0.7 and self.verdicts:
            self._judge(*self.verdicts.pop(self.random.randrange(len(self.verdicts))))
        elif choice < 0.78:
            name = self.random.choice(HONEST)
            if self.members[name].timers:
                self._fire(name, self.random.choice(sorted(self.members[name].timers)))
        elif choice < 0.97:
            self._deliver(target := self.random.choice(HONEST), self._lie(target))
        elif self.in_flight:
            self.in_flight.pop(self.random.randrange(len(self.in_flight)))

    def _lie(self, target: str) -> Message:
        """Something that a faulty member might say, mostly about where the target stands."""
        voting, pick = self.members[target].voting, self.random.choice
        turn = voting.turn if self.random.random() < 0.8 else Turn(self.random.randrange(3), self.random.randrange(VIEWS))
        proposals = [message.commit for message in self.said if message.kind == "proposal" and message.turn == turn]
        leads = voting.committee(turn.epoch).proposer(turn.view) == FAULTY
        kind = pick(["prevote", "precommit", "precommit", "exhausted", *["proposal"] * (3 * leads)])
        if kind == "proposal":
            proof = pick([None, None, *sorted({prevote[0] for prevote in self.prevotes})])
            return self._tell(Message(FAULTY, turn, kind, pick(FORGED), proof, self._prevotes_of(proof)))
        if kind == "exhausted":
            proof = pick([None, *sorted({prevote[0] for prevote in self.prevotes})])
            return Message(FAULTY, turn, kind, pick(FORGED), proof, self._prevotes_of(proof))
        return self._tell(Message(FAULTY, turn, kind, pick([*proposals * 4, *FORGED, None])))

    def _tell(self, lie: Message) -> Message:
        """Remember what can be used as evidence, or heard of, later."""
        if lie.kind == "proposal":
            self.said.append(lie)
        elif lie.kind == "prevote":
            self.prevotes.add((lie.turn, "prevote", FAULTY, lie.commit))
        return lie

    def _prevotes_of(self, turn: Turn | None) -> tuple[Prevote, ...]:
        return tuple(sorted((prevote for prevote in self.prevotes if prevote[0] == turn), key=repr))

    def _fair_days(self) -> None:
        for _ in range(40):
            everything = ((name, message) for message in self.said for name in HONEST)
            self.in_flight = [(name, message) for name, message in everything if (name, id(message)) not in self.heard]
            while self.in_flight or self.verdicts:
                while self.in_flight:
                    self._deliver(*self.in_flight.pop(0))
                while self.verdicts:
                    self._judge(*self.verdicts.pop(0))
            if all(member.voting.decided for member in self.members.values()):
                return
            timers = [(timer, name) for name in HONEST for timer in self.members[name].timers]
            soonest = min(timers, default=None)
            if soonest is not None:
                for timer, name in [each for each in timers if each[0] == soonest[0]]:
                    self._fire(name, timer)
        # Who has decided tells the others with the certificate (`History`), not with votes.
        if not any(member.voting.decided for member in self.members.values()):
            raise Stall(self._standing())

    def _standing(self) -> dict[str, tuple[Turn, Step]]:
        return {name: (member.voting.turn, member.voting.step) for name, member in self.members.items()}

    def _fire(self, name: str, timer: tuple[Turn, Step]) -> None:
        self.members[name].timers.discard(timer)
        self._do(name, self.members[name].voting.timed_out(*timer))

    def _judge(self, name: str, commit: bytes) -> None:
        verdict = Verdict.UNSOUND if commit == WRONG else Verdict.SOUND
        if commit == FORGED[1] and name == HONEST[0]:
            verdict = Verdict.UNFAIR
        self._do(name, self.members[name].voting.judge(commit, verdict))

    def _deliver(self, name: str, message: Message) -> None:
        member = self.members[name]
        self.heard[name, id(message)] = message
        if message.commit is not None and message.proof is not None:
            self._check_proof(name, Lock(message.commit, message.proof), message.prevotes)
        if message.kind == "proposal" and message.commit is not None:
            self._do(name, member.voting.propose(message.turn, message.commit, message.proof))
            self.verdicts.append((name, message.commit))
        elif message.kind == "exhausted":
            self._end_epoch(name, message)
        elif message.kind in ("prevote", "precommit"):
            stage: Stage = "prevote" if message.kind == "prevote" else "precommit"
            self._do(name, member.voting.vote(message.turn, stage, message.sender, message.commit))

    def _check_proof(self, name: str, lock: Lock, prevotes: tuple[Prevote, ...]) -> None:
        voters = {voter for turn, _, voter, commit in prevotes if (turn, commit) == (lock.turn, lock.commit)}
        if len(voters) >= self.members[name].voting.committee(lock.turn.epoch).quorum:
            self._do(name, self.members[name].voting.prove(lock))

    def _end_epoch(self, name: str, message: Message) -> None:
        member = self.members[name]
        if message.commit is not None and message.proof is not None:
            lock = Lock(message.commit, message.proof)
            if member.voting.proven(lock) and (member.shown is None or lock.turn > member.shown.turn):
                member.shown = lock
        member.ended[message.sender] = max(message.turn.epoch, member.ended.get(message.sender, -1))
        if len(member.ended) >= MAJORITY:
            ended = sorted(member.ended.values(), reverse=True)[MAJORITY - 1]
            if ended >= member.voting.turn.epoch:
                self._do(name, member.voting.enter_epoch(ended + 1, member.shown))

    def _do(self, name: str, actions: list[Action]) -> None:
        voting = self.members[name].voting
        for action in actions:
            if isinstance(action, Schedule):
                self.members[name].timers.add((action.turn, action.step))
            elif isinstance(action, Vote):
                if action.stage == "prevote":
                    self.prevotes.add((action.turn, "prevote", name, action.commit))
                self._say(Message(name, action.turn, action.stage, action.commit))
            elif isinstance(action, Propose):
                commit = action.commit or f"{name} {action.turn}".encode()
                message = Message(name, action.turn, "proposal", commit, action.proof, self._proof(voting, commit, action.proof))
                self._say(message)
                self._deliver(name, message)
            elif isinstance(action, Exhaust):
                lock = voting.valid
                shown, turn = (lock.commit, lock.turn) if lock else (None, None)
                message = Message(name, Turn(action.epoch, 0), "exhausted", shown, turn, self._proof(voting, shown, turn))
                self._say(message)
                self._deliver(name, message)
            elif isinstance(action, Decide):
                self._check()

    def _proof(self, voting: Voting, commit: bytes | None, turn: Turn | None) -> tuple[Prevote, ...]:
        if commit is None or turn is None:
            return ()
        shown = [message.prevotes for message in self.said if (message.commit, message.proof) == (commit, turn)]
        heard: tuple[Prevote, ...] = tuple((turn, "prevote", voter, commit) for voter in voting.voters(turn, "prevote", commit))
        return max([heard, *shown], key=len)

    def _say(self, message: Message) -> None:
        self.said.append(message)
        self.in_flight += [(name, message) for name in HONEST if name != message.sender]

    def _check(self) -> None:
        decided = {member.voting.decided.commit for member in self.members.values() if member.voting.decided}
        if len(decided) > 1 or WRONG in decided:
            raise Disagreement(sorted(decided))


def explore(core: Core, *, schedules: int, steps: int = 100) -> Counter[Turn]:
    """Walk many schedules; return how often a member decided in each turn."""
    turns: Counter[Turn] = Counter()
    for seed in range(schedules):
        walk = Walk(seed, core)
        walk.run(steps)
        turns.update(member.voting.decided.turn for member in walk.members.values() if member.voting.decided)
    return turns
