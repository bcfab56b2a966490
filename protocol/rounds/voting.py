"""The voting core: how a committee agrees on one commit after a base. Pure: no time, no signatures, no payloads.

This is the algorithm of "The latest gossip on BFT consensus" (Buchman, Kwon, Milosevic 2018, Algorithm 1; Tendermint), and the
rules below carry the paper's line numbers. A height is a base commit, a round is a *turn*: a view of an epoch, compared as a
pair. Two stages of votes make it safe with fewer than a third of the committee faulty: more than 2/3 *prevote* a commit (each
replayed it), then more than 2/3 *precommit* it (each saw those prevotes, and is locked on the commit from then on).

Where it differs from the paper:
- A turn ends at once when more than 2/3 precommitted nothing in it: no commit can become final in such a turn any more.
- A turn also ends by time without a quorum (the paper waits for ever), so that an epoch whose committee vanished comes to an end.
- The last view of an epoch has no next one, nor has one (but the first) that ran out of time with fewer than 2/3 heard of in it.
  The member then stops voting (`exhausted`) until the machine moves it to the next epoch, whose committee is another one. Locks
  are kept, and the latest proven lock that anyone showed is adopted (`enter_epoch`).
- A verdict has three values. `UNFAIR` (a sound commit that leaves out contributions) is prevoted against when it is new, but not
  when more than 2/3 of a committee prevoted it: they saw no omission, and progress must not depend on who saw what.
- A commit is decided on its precommits alone; an observer (someone not on the committee) follows the same rules without a vote.

What holds, exactly:
- Within an epoch, and across epochs while the whole roster sits on the committee (roster ≤ `rounds.committee`): never two final
  commits on one base, if fewer than a third of the committee is faulty. Timing does not matter for it.
- Across epochs with a roster larger than the committee: the same, unless an earlier committee's quorum finished (or locked, and
  finishes later) without any of the more than half of the roster that ended the epoch having seen its prevotes. Then two commits
  may both be final, and the fork choice (`History`: the lower epoch wins where two chains first differ) settles it everywhere.
- Progress needs more than 2/3 of some drawn committee, and more than half of the roster to draw another one; so one of four may
  vanish, and a minority of a partition never draws. Two or three members cannot tolerate a fault: their coordinator decides
  alone or, in odd epochs, all the others together (`committee.draw`).
- A minority of a partition can finish one commit only if more than 2/3 of the committee drawn for its base happens to be in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from ..committee import Committee
from ..identity import PeerId
from .actions import Action, Decide, Exhaust, Lock, Propose, Schedule, Stage, Step, Turn, Verdict, Vote

MAX_PROPOSALS = 2


@dataclass
class _Tally:
    """One stage of one turn: each member's first vote, and how many there are for each commit."""

    by: dict[PeerId, bytes | None] = field(default_factory=dict)
    counts: Counter[bytes | None] = field(default_factory=Counter)


class Voting:
    """One member's (or observer's) state for one base. Every input returns what to do, in order."""

    def __init__(self, me: PeerId, committee_of: Callable[[int], Committee], views: int) -> None:
        """`committee_of` gives an epoch's committee; an epoch has `views` views."""
        self.me = me
        self.views = views
        self.turn = Turn(0, 0)
        self.step = Step.PROPOSE
        self.started = False
        self.exhausted = False
        self.locked: Lock | None = None
        self.valid: Lock | None = None
        self.decided: Decide | None = None
        self._committee_of = committee_of
        self._proposals: dict[Turn, dict[bytes, Turn | None]] = {}
        self._tallies: dict[tuple[Turn, Stage], _Tally] = {}
        self._proven: set[Lock] = set()
        self._verdicts: dict[bytes, Verdict] = {}
        self._scheduled: set[tuple[Turn, Step]] = set()
        self._actions: list[Action] = []

    # Inputs

    def start(self) -> list[Action]:
        """Begin with the first view; does nothing if voting began already."""
        if not self.started:
            self._enter(self.turn)
        return self._settle()

    def propose(self, turn: Turn, commit: bytes, proof: Turn | None) -> list[Action]:
        """Take in a proposal that the turn's proposer (who may be us) signed; others than the first two are dropped."""
        proposals = self._proposals.setdefault(turn, {})
        if commit not in proposals and len(proposals) < MAX_PROPOSALS:
            proposals[commit] = proof
        return self._settle()

    def vote(self, turn: Turn, stage: Stage, voter: PeerId, commit: bytes | None) -> list[Action]:
        """Take in a member's vote; of two different ones by the same member, the first counts."""
        self._count(turn, stage, voter, commit)
        return self._settle()

    def prove(self, lock: Lock) -> list[Action]:
        """Take in that someone showed the prevotes of more than 2/3: a faulty member may have shown us another one of its own."""
        self._proven.add(lock)
        return self._settle()

    def judge(self, commit: bytes, verdict: Verdict) -> list[Action]:
        """Take in what replaying a commit showed."""
        self._verdicts[commit] = verdict
        return self._settle()

    def timed_out(self, turn: Turn, step: Step) -> list[Action]:
        """Lines 57–67: the time that a step may take is over. Nothing happens if we have moved on since."""
        if turn != self.turn or not self._is_voting:
            return []
        if step is Step.PROPOSE and self.step is Step.PROPOSE:
            self._cast("prevote", None)
        elif step is Step.PREVOTE and self.step is Step.PREVOTE:
            self._cast("precommit", None)
        elif step in (Step.PRECOMMIT, Step.VIEW):
            self._next_view(absent=self.turn.view > 0 and self._speakers(self.turn) < self.committee().quorum)
        return self._settle()

    def enter_epoch(self, epoch: int, shown: Lock | None) -> list[Action]:
        """Go on with the committee of a later epoch; `shown` is the latest lock that those who ended the last one showed."""
        if epoch <= self.turn.epoch or self.decided:
            return []
        self.adopt(shown)
        self._enter(Turn(epoch, 0))
        return self._settle()

    def adopt(self, shown: Lock | None) -> None:
        """Take over a later lock, if it is proven: a lock only ever makes us more careful."""
        if shown is None or not self.proven(shown):
            return
        if self.valid is None or shown.turn > self.valid.turn:
            self.valid = shown
        if self.locked is None or shown.turn > self.locked.turn:
            self.locked = shown

    def restore(self, turn: Turn, step: Step, exhausted: bool, locked: Lock | None, valid: Lock | None) -> list[Action]:
        """Come back where a crash left us; our own votes of the turn are given with `vote` afterwards."""
        self._enter(turn, propose=False)
        self.step, self.exhausted, self.locked, self.valid = step, exhausted, locked, valid
        return self._drain()

    # Questions

    def committee(self, epoch: int | None = None) -> Committee:
        """Return the committee of an epoch, by default the present one."""
        return self._committee_of(self.turn.epoch if epoch is None else epoch)

    def proven(self, lock: Lock) -> bool:
        """Say whether more than 2/3 prevoted this commit in this turn, as we heard or were shown."""
        heard = self._tally(lock.turn, "prevote").counts[lock.commit]
        return lock in self._proven or heard >= self.committee(lock.turn.epoch).quorum

    def voters(self, turn: Turn, stage: Stage, commit: bytes) -> list[PeerId]:
        """Return who voted for this commit."""
        return [peer for peer, voted in self._tally(turn, stage).by.items() if voted == commit]

    def voted(self, turn: Turn, stage: Stage, voter: PeerId) -> bool:
        """Say whether this member's vote is counted."""
        return voter in self._tally(turn, stage).by

    def forget(self, epoch: int) -> None:
        """Drop votes and proposals of epochs before this one, but for what proves the present locks."""
        kept = {lock.turn for lock in (self.locked, self.valid) if lock}
        self._tallies = {key: tally for key, tally in self._tallies.items() if key[0].epoch >= epoch or key[0] in kept}
        self._proposals = {turn: proposals for turn, proposals in self._proposals.items() if turn.epoch >= epoch}
        self._scheduled = {timer for timer in self._scheduled if timer[0].epoch >= epoch}
        self._proven = {lock for lock in self._proven if lock.turn.epoch >= epoch or lock.turn in kept}

    # Rules: each returns whether it changed something; they are tried in this order until none does.

    def _settle(self) -> list[Action]:
        while self.decided is None and any(rule(self) for rule in self.RULES):
            pass
        return self._drain()

    def _decide(self) -> bool:
        """Line 49: more than 2/3 precommitted one commit, in whatever turn."""
        for (turn, stage), tally in self._tallies.items():
            if stage == "precommit":
                for commit, count in tally.counts.items():
                    if commit is not None and count >= self.committee(turn.epoch).quorum:
                        self._conclude(Decide(commit, turn))
                        return True
        return False

    def _conclude(self, final: Decide) -> None:
        # A precommit that comes too late to matter is still said: who attests a commit stays on the roster.
        if final.turn >= self.turn:
            self.turn = final.turn
            self._cast("precommit", final.commit)
        self.decided = final
        self._actions.append(final)

    def _begin(self) -> bool:
        """Somebody proposed, or an honest member votes already."""
        if self.started or not (self._proposals.get(self.turn) or self._speakers(self.turn) >= self._one_honest):
            return False
        self._enter(self.turn)
        return True

    def _skip(self) -> bool:
        """Line 55: more members than can be faulty are in a later view of this epoch."""
        for view in range(self.views - 1, self.turn.view, -1):
            turn = Turn(self.turn.epoch, view)
            if not self.exhausted and self._speakers(turn) >= self._one_honest:
                self._enter(turn)
                return True
        return False

    def _prevote(self) -> bool:
        """Lines 22 and 28: answer the proposal, given our verdict and our lock."""
        if not self._is_voting or self.step is not Step.PROPOSE or not self._proposals.get(self.turn):
            return False
        commit, proof = next(iter(self._proposals[self.turn].items()))
        verdict = self._verdicts.get(commit)
        if verdict is None or (proof is not None and not (proof < self.turn and self.proven(Lock(commit, proof)))):
            return False
        self._cast("prevote", commit if self._supports(commit, proof, verdict) else None)
        return True

    def _supports(self, commit: bytes, proof: Turn | None, verdict: Verdict) -> bool:
        free = self.locked is None or self.locked.commit == commit or (proof is not None and self.locked.turn <= proof)
        sound = verdict is Verdict.SOUND or (verdict is Verdict.UNFAIR and proof is not None)
        return free and sound

    def _await_prevotes(self) -> bool:
        """Line 34: more than 2/3 prevoted something; wait a little for the rest."""
        enough = len(self._tally(self.turn, "prevote").by) >= self.committee().quorum
        return self._is_voting and self.step is Step.PREVOTE and enough and self._schedule(Step.PREVOTE)

    def _precommit(self) -> bool:
        """Line 36: more than 2/3 prevoted one proposal, and it is sound: lock it and say so."""
        if not self.started or self.step is Step.PROPOSE:
            return False
        for commit in self._proposals.get(self.turn, {}):
            lock = Lock(commit, self.turn)
            sound = self._verdicts.get(commit) in (Verdict.SOUND, Verdict.UNFAIR)
            if sound and self.proven(lock) and self.valid != lock:
                if self.step is Step.PREVOTE and self._is_voting:
                    self.locked = lock
                    self._cast("precommit", commit)
                self.valid = lock
                return True
        return False

    def _precommit_nothing(self) -> bool:
        """Line 44: more than 2/3 prevoted nothing."""
        nothing = self._tally(self.turn, "prevote").counts[None] >= self.committee().quorum
        if not (self._is_voting and self.step is Step.PREVOTE and nothing):
            return False
        self._cast("precommit", None)
        return True

    def _await_precommits(self) -> bool:
        """Line 47: more than 2/3 precommitted something; wait a little for the rest, unless it is nothing anyhow."""
        tally = self._tally(self.turn, "precommit")
        if not self._is_voting or len(tally.by) < self.committee().quorum:
            return False
        if tally.counts[None] >= self.committee().quorum:
            self._next_view()
            return True
        return self._schedule(Step.PRECOMMIT)

    RULES: tuple[Callable[[Voting], bool], ...] = (
        _decide,
        _begin,
        _skip,
        _prevote,
        _await_prevotes,
        _precommit,
        _precommit_nothing,
        _await_precommits,
    )

    # Moves

    @property
    def _is_voting(self) -> bool:
        return self.started and not self.exhausted and self.decided is None

    @property
    def _one_honest(self) -> int:
        return (len(self.committee().members) - 1) // 3 + 1

    def _speakers(self, turn: Turn) -> int:
        peers = set(self._tally(turn, "prevote").by) | set(self._tally(turn, "precommit").by)
        if self._proposals.get(turn):
            peers.add(self.committee(turn.epoch).proposer(turn.view))
        return len(peers)

    def _enter(self, turn: Turn, *, propose: bool = True) -> None:
        """Line 11: start a turn."""
        self.turn, self.step, self.started, self.exhausted = turn, Step.PROPOSE, True, False
        self._schedule(Step.PROPOSE)
        self._schedule(Step.VIEW)
        if propose and self.committee().proposer(turn.view) == self.me:
            again = self.valid
            self._actions.append(Propose(turn, again.commit if again else None, again.turn if again else None))

    def _next_view(self, *, absent: bool = False) -> None:
        if self.turn.view + 1 < self.views and not absent:
            self._enter(Turn(self.turn.epoch, self.turn.view + 1))
        else:
            self.exhausted = True
            self._actions.append(Exhaust(self.turn.epoch))

    def _cast(self, stage: Stage, commit: bytes | None) -> None:
        self.step = Step.PREVOTE if stage == "prevote" else Step.PRECOMMIT
        if self.me in self.committee() and not self.voted(self.turn, stage, self.me):
            self._count(self.turn, stage, self.me, commit)
            self._actions.append(Vote(self.turn, stage, commit))

    def _count(self, turn: Turn, stage: Stage, voter: PeerId, commit: bytes | None) -> None:
        tally = self._tallies.setdefault((turn, stage), _Tally())
        if voter not in tally.by:
            tally.by[voter] = commit
            tally.counts[commit] += 1

    def _tally(self, turn: Turn, stage: Stage) -> _Tally:
        return self._tallies.get((turn, stage)) or _Tally()

    def _schedule(self, step: Step) -> bool:
        if (self.turn, step) in self._scheduled:
            return False
        self._scheduled.add((self.turn, step))
        self._actions.append(Schedule(self.turn, step))
        return True

    def _drain(self) -> list[Action]:
        actions, self._actions = self._actions, []
        return actions
