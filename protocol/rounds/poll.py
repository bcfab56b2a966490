"""The vote of one round, with signatures and memory: the voting core joined to messages, timers and the durable state.

Everything that this node says goes through `_say`: first the state that remembers it, then the words.
"""

from __future__ import annotations

from collections.abc import Callable

from ..certificates import certify
from ..commit import Commit, open_attestation
from ..errors import RemoteProtocolError
from ..identity import PeerId
from ..messages import Attestation, Blob, Exhausted, Message, Proof, Proposal, Signed
from .actions import Action, Decide, Exhaust, Lock, Propose, Schedule, Stage, Step, Turn, Vote
from .effects import Behind, Effect, Finalise, KeepCommit, Persist, Refused, Send
from .review import Reviews, Verdicts
from .setting import Setting
from .state import VotingState
from .voting import Voting


class Poll:
    """A member's part in the vote, or an observer's view of it."""

    def __init__(self, setting: Setting, reviews: Reviews, emit: Callable[[Effect], None]) -> None:
        self.voting = Voting(setting.me, setting.committee, setting.event.rounds.views_per_epoch)
        self.contribution: Signed | None = None
        self.wants_draft: Turn | None = None
        self.is_final = False
        self._setting = setting
        self._reviews = reviews
        self._emit = emit
        self._roster = frozenset(member.peer for member in setting.base.roster)
        self._blobs: dict[bytes, Blob] = {}
        self._envelopes: dict[tuple[Turn, Stage], dict[PeerId, Signed]] = {}
        self._proofs: dict[Lock, Proof] = {}
        self._timers: dict[tuple[Turn, Step], float] = {}
        self._said: dict[str, Signed] = {}
        self._said_in = Turn(0, 0)
        self._ended: dict[PeerId, int] = {}
        self._shown: Lock | None = None
        self._farewell: Signed | None = None

    @property
    def is_member(self) -> bool:
        """Whether we sit on the present epoch's committee."""
        return self._setting.me in self.voting.committee()

    @property
    def deadline(self) -> float | None:
        """When the next step's time is over."""
        return min(self._timers.values(), default=None)

    def words(self) -> list[Signed]:
        """Return what we said last, for those who missed it."""
        said = list(self._said.values()) if self._said_in == self.voting.turn else []
        return said + ([self._farewell] if self._farewell else [])

    # Inputs

    def start(self, now: float) -> None:
        """Begin with the first view, if voting has not begun."""
        self._do(self.voting.start(), now)

    def tick(self, now: float) -> None:
        """Let steps end whose time is over."""
        for timer in sorted(timer for timer, due in self._timers.items() if due <= now):
            if self._timers.pop(timer, None) is not None:
                self._do(self.voting.timed_out(*timer), now)

    def judged(self, verdicts: Verdicts, now: float) -> None:
        """Take in verdicts."""
        for commit, verdict in verdicts:
            self._do(self.voting.judge(commit, verdict), now)

    def offer(self, commit: Commit, now: float) -> None:
        """Propose a commit that we built for the turn in `wants_draft`."""
        blob = Blob(sha256=commit.digest, size=len(commit.encode()))
        turn, self.wants_draft = self.wants_draft, None
        if turn == self.voting.turn and self.voting.step is Step.PROPOSE and "proposal" not in self._said_now():
            self._emit(KeepCommit(commit))
            self.judged(self._reviews.own(commit, blob, now), now)
            self._propose(turn, blob, None, now)

    def finish(self, now: float) -> None:
        """End the round if a commit is final and here; ask for it if it is not here."""
        if self.voting.decided is not None:
            self._finish(self.voting.decided, now)

    def on_proposal(self, signed: Signed, proposal: Proposal, now: float) -> None:
        """Take in a proposal. Raises RemoteProtocolError for one that its signer could not rightly make."""
        turn = Turn(proposal.epoch, proposal.view)
        if not self._is_near(turn):
            return
        if signed.signer != self._setting.committee(turn.epoch).proposer(turn.view):
            raise RemoteProtocolError("not_the_proposer", f"view {turn.view} of epoch {turn.epoch}")
        proof = proposal.proof
        if proof is not None:
            if proof.commit != proposal.commit or Turn(proof.epoch, proof.view) >= turn:
                raise RemoteProtocolError("bad_proof", "of another commit, or of a later view")
            self._take_proof(proof, now)
        self._blobs.setdefault(proposal.commit.sha256, proposal.commit)
        self._do(self.voting.propose(turn, proposal.commit.sha256, Turn(proof.epoch, proof.view) if proof else None), now)
        self.judged(self._reviews.propose(proposal.commit, signed.signer, now), now)

    def on_attestation(self, signed: Signed, attestation: Attestation, now: float) -> None:
        """Take in a vote. Raises RemoteProtocolError for one by someone without a vote, or a second, different one."""
        if self._is_near(Turn(attestation.epoch, attestation.view)):
            self._count(signed, attestation, now)

    def on_exhausted(self, signed: Signed, exhausted: Exhausted, now: float) -> None:
        """Take in a member's wish for a new committee. Raises RemoteProtocolError if it is no member, or its proof none."""
        if signed.signer not in self._roster:
            raise RemoteProtocolError("not_a_member", signed.signer)
        if exhausted.locked is not None:
            self._show(self._take_proof(exhausted.locked, now))
        if exhausted.epoch > self._ended.get(signed.signer, -1):
            self._ended[signed.signer] = exhausted.epoch
            self._change_epoch(now)

    def restore(self, state: VotingState, now: float) -> None:
        """Come back as `state` says."""
        for proof in (state.locked, state.valid):
            if proof is not None:
                self._take_proof(proof, now)
        turn = Turn(state.epoch, state.view)
        said = [Signed.decode(envelope) for envelope in state.said]
        self._said = {self._name(signed.open()): signed for signed in said}
        self._said_in = turn
        step = Step.PRECOMMIT if "precommit" in self._said else Step.PREVOTE if "prevote" in self._said else Step.PROPOSE
        if state.started:
            self._do(self.voting.restore(turn, step, state.exhausted, _lock(state.locked), _lock(state.valid)), now)
        for signed in said:
            message = signed.open()
            if isinstance(message, Attestation):
                self.on_attestation(signed, message, now)
            elif isinstance(message, Proposal):
                self.on_proposal(signed, message, now)
        if state.exhausted:
            self._do([Exhaust(turn.epoch)], now)

    def state(self) -> VotingState:
        """Return what must survive a crash."""
        voting = self.voting
        return VotingState(
            event=self._setting.event.digest,
            base=self._setting.base.digest,
            epoch=voting.turn.epoch,
            view=voting.turn.view,
            started=voting.started,
            exhausted=voting.exhausted,
            said=tuple(signed.encode() for signed in self._said_now().values()),
            locked=self._proof(voting.locked),
            valid=self._proof(voting.valid),
            contribution=self.contribution.encode() if self.contribution else None,
        )

    # Actions of the core

    def _do(self, actions: list[Action], now: float) -> None:
        words: list[Signed] = []
        for action in actions:
            if isinstance(action, Schedule):
                self._timers[action.turn, action.step] = now + self._setting.duration(action.turn, action.step)
            elif isinstance(action, Vote):
                words.append(self._attest(action))
            elif isinstance(action, Exhaust):
                words += self._ask_for_committee(action.epoch)
        self._say(words)
        for action in actions:
            if isinstance(action, Propose) and action.turn == self.voting.turn:
                self._answer(action, now)
            elif isinstance(action, Exhaust):
                self._change_epoch(now)
            elif isinstance(action, Decide):
                self._finish(action, now)
        self._timers = {timer: due for timer, due in self._timers.items() if timer[0] >= self.voting.turn}

    def _answer(self, action: Propose, now: float) -> None:
        if action.commit is None:
            self.wants_draft = action.turn
        elif action.proof is not None:
            proof = self._proof(Lock(action.commit, action.proof))
            self._propose(action.turn, self._blobs[action.commit], proof, now)

    def _propose(self, turn: Turn, blob: Blob, proof: Proof | None, now: float) -> None:
        setting = self._setting
        proposal = Proposal(
            event=setting.event.digest, base=setting.base.digest, epoch=turn.epoch, view=turn.view, commit=blob, proof=proof
        )
        signed = Signed.seal(setting.identity, proposal)
        self._remember(turn, signed, proposal)
        self._say([signed])
        self.on_proposal(signed, proposal, now)

    def _attest(self, vote: Vote) -> Signed:
        attestation = self._attestation(vote.turn, vote.stage, vote.commit)
        signed = Signed.seal(self._setting.identity, attestation)
        self._envelopes.setdefault((vote.turn, vote.stage), {})[signed.signer] = signed
        self._remember(vote.turn, signed, attestation)
        return signed

    def _ask_for_committee(self, epoch: int) -> list[Signed]:
        setting = self._setting
        if setting.me not in self._roster:
            return []
        exhausted = Exhausted(
            event=setting.event.digest, base=setting.base.digest, epoch=epoch, locked=self._proof(self.voting.valid)
        )
        self._farewell = Signed.seal(setting.identity, exhausted)
        self._ended[setting.me] = epoch
        return [self._farewell]

    def _finish(self, final: Decide, now: float) -> None:
        commit = self._reviews.commit(final.commit)
        precommits = self._envelopes[final.turn, "precommit"]
        supporters = [signed for peer, signed in precommits.items() if self._says(signed, final.commit)]
        if commit is not None and not self.is_final:
            self.is_final = True
            self._emit(Finalise(commit, certify(self._attestation(final.turn, "precommit", final.commit), supporters)))
        elif commit is None and final.commit in self._blobs:
            self._reviews.propose(self._blobs[final.commit], supporters[0].signer, now)
        elif commit is None:
            self._emit(Behind(supporters[0].signer, final.commit, self._setting.base.round + 1))

    def _say(self, words: list[Signed]) -> None:
        if words:
            self._emit(Persist(self.state()))
        for signed in words:
            self._emit(Send(signed))

    # Bookkeeping

    def _change_epoch(self, now: float) -> None:
        majority = len(self._roster) // 2 + 1
        if len(self._ended) < majority:
            return
        ended = sorted(self._ended.values(), reverse=True)[majority - 1]
        if ended < self.voting.turn.epoch:
            return
        actions, self._shown = self.voting.enter_epoch(ended + 1, self._shown), None
        self.voting.forget(ended)
        kept = {lock for lock in (self.voting.locked, self.voting.valid) if lock}
        turns = {lock.turn for lock in kept}
        self._envelopes = {key: by for key, by in self._envelopes.items() if key[0].epoch >= ended or key[0] in turns}
        self._proofs = {lock: proof for lock, proof in self._proofs.items() if lock.turn.epoch >= ended or lock in kept}
        self._do(actions, now)

    def _show(self, lock: Lock) -> None:
        if self._shown is None or lock.turn > self._shown.turn:
            self._shown = lock
        if lock.turn.epoch < self.voting.turn.epoch:
            self.voting.adopt(lock)

    def _take_proof(self, proof: Proof, now: float) -> Lock:
        """Check a proof and note what it proves. Raises RemoteProtocolError("bad_proof")."""
        lock = Lock(proof.commit.sha256, Turn(proof.epoch, proof.view))
        if lock.turn.view >= self.voting.views:
            raise RemoteProtocolError("bad_proof", "a view beyond the last")
        known = self.voting.proven(lock)
        if not known:
            self._check_proof(proof, lock)
        self._blobs.setdefault(proof.commit.sha256, proof.commit)
        if not known:
            self._proofs[lock] = proof
            self._do(self.voting.prove(lock), now)
        return lock

    def _check_proof(self, proof: Proof, lock: Lock) -> None:
        committee = self._setting.committee(proof.epoch)
        signers = set()
        for envelope in proof.prevotes:
            signed, attestation = open_attestation(envelope)
            if attestation != self._attestation(lock.turn, "prevote", lock.commit) or signed.signer not in committee:
                raise RemoteProtocolError("bad_proof", "a prevote of something else")
            signers.add(signed.signer)
        if len(signers) < committee.quorum:
            raise RemoteProtocolError("bad_proof", f"{len(signers)} prevotes where {committee.quorum} are needed")

    def _count(self, signed: Signed, attestation: Attestation, now: float) -> None:
        turn = Turn(attestation.epoch, attestation.view)
        if signed.signer not in self._setting.committee(turn.epoch):
            raise RemoteProtocolError("not_a_member", signed.signer)
        by = self._envelopes.setdefault((turn, attestation.stage), {})
        known = by.setdefault(signed.signer, signed)
        if known.body != signed.body:
            self._emit(Refused(signed.signer, "equivocation", f"two {attestation.stage}s in view {turn.view}"))
        elif known is signed:
            self._do(self.voting.vote(turn, attestation.stage, signed.signer, attestation.commit), now)

    def _is_near(self, turn: Turn) -> bool:
        """Say whether a turn is worth storing; its view must exist (RemoteProtocolError)."""
        if turn.view >= self.voting.views:
            raise RemoteProtocolError("no_such_view", str(turn.view))
        return self.voting.turn.epoch - 1 <= turn.epoch <= self.voting.turn.epoch + 1

    def _proof(self, lock: Lock | None) -> Proof | None:
        if lock is None or lock in self._proofs:
            return self._proofs[lock] if lock else None
        by = self._envelopes[lock.turn, "prevote"]
        prevotes = [by[peer].encode() for peer in sorted(self.voting.voters(lock.turn, "prevote", lock.commit))]
        return Proof(epoch=lock.turn.epoch, view=lock.turn.view, commit=self._blobs[lock.commit], prevotes=tuple(prevotes))

    def _attestation(self, turn: Turn, stage: Stage, commit: bytes | None) -> Attestation:
        event, base = self._setting.event.digest, self._setting.base.digest
        return Attestation(event=event, base=base, epoch=turn.epoch, view=turn.view, stage=stage, commit=commit)

    def _says(self, signed: Signed, commit: bytes) -> bool:
        return signed.open_as(Attestation).commit == commit

    def _remember(self, turn: Turn, signed: Signed, message: Message) -> None:
        if turn != self._said_in:
            self._said, self._said_in = {}, turn
        self._said[self._name(message)] = signed

    def _said_now(self) -> dict[str, Signed]:
        return self._said if self._said_in == self.voting.turn else {}

    @staticmethod
    def _name(message: Message) -> str:
        return message.stage if isinstance(message, Attestation) else message.KIND


def _lock(proof: Proof | None) -> Lock | None:
    return Lock(proof.commit.sha256, Turn(proof.epoch, proof.view)) if proof else None
