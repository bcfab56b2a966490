"""The round machine: everything a node decides between one final commit and the next, as a function of messages and time.

One machine lives for one base commit. Inputs are methods with the time as an argument (seconds of a monotonic clock, and for what
arrives the message); each returns effects (`rounds.effects`) for the driver to carry out in order. The machine opens no socket,
reads no clock and draws no random number. It signs with the identity that it is given, and Ed25519 signs deterministically.

A round, as this node sees it (`rounds.phases`):

1. TRAINING until our own steps are done, the swarm's samples reach the target, or the deadline passes.
2. COLLECTING: contributions come in and the committee checks their payloads, until everyone who trains has contributed or
   `rounds.collect` seconds passed. Without any contribution a round waits: an idle swarm makes no commits and no epochs.
3. VOTING: `rounds.poll` and `rounds.voting`.
4. FINAL: `Finalise` was returned; the driver adds the commit to the history and starts the next machine on it.

Lost messages stall nothing: while the round lasts, our newest words are sent again at a slow interval. A node that was restarted
hands the newest `VotingState` that it stored to the constructor, and can then only repeat what it said, or go on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from math import inf
from typing import Any, ClassVar

from ..admission import SHUT_OUT, refusal
from ..carried import Opened, takes_part
from ..commit import Commit
from ..errors import LocalProtocolError, RemoteProtocolError
from ..history import History
from ..identity import Identity, PeerId
from ..merging import RECORDED, Draft, claim_problem
from ..messages import Attestation, Contribution, Exhausted, Goodbye, Message, Progress, Proposal, Signed
from .effects import BuildCommit, CloseTraining, Effect, Persist, Refused, Send
from .gathering import Gathering
from .neighbours import Neighbours, with_late_precommit
from .phases import TRANSITIONS, Phase, Turning
from .poll import Poll
from .pool import UNAVAILABLE, Claim, Pool
from .presence import Presence
from .review import GATE, Reviews
from .setting import Setting
from .state import VotingState


class RoundMachine:
    """One node's part in one round. `phase`, `closes_at` and `contribution` are there for displays and drivers to read."""

    def __init__(
        self,
        history: History,
        base: bytes,
        identity: Identity,
        *,
        trains: bool,
        payload_limit: int,
        sequence: int = 0,
        state: VotingState | None = None,
    ) -> None:
        """`base` is a commit of `history`; `payload_limit` in bytes; `sequence` grows from one start of the node to the next.

        `state` is the newest record of this base that was persisted, if any; LocalProtocolError where it is another base's.
        """
        if state is not None and (state.base != base or state.event != history.event.digest):
            raise LocalProtocolError("the stored state is of another round")
        self.phase = Phase.TRAINING
        self.setting = Setting(history.amendments, history.ancestry(base), identity, trains, payload_limit)
        self.certificate = history.certificate(base)
        self.contribution: Signed | None = None
        self._state = state
        self._sequence = sequence
        self._out: list[Effect] = []
        self._pool = Pool(self.setting.ancestry.members)
        self._presence = Presence(self.setting.silence)
        self._gathering = Gathering(self.setting, self._pool, self._presence)
        self._neighbours = Neighbours(history, self.setting.resend)
        self._reviews = Reviews(
            self.setting, self._pool, self._out.append, lambda: self.poll.is_member, lambda: self.poll.voting.turn.epoch
        )
        self.poll = Poll(self.setting, self._reviews, self._out.append)
        self._own = (0, 0, 0.0, 0.0)
        self._started_at = 0.0
        self._closed_at: float | None = None
        self._awaited_since: float | None = None
        self._resend_at = 0.0
        self._draft: Draft | None = None
        self._now = 0.0
        self._checked_epoch = 0
        self._own_claims: dict[bytes, Signed] = {}

    # For displays

    @property
    def closes_at(self) -> float | None:
        """When the present phase ends at the latest; None if that depends on others."""
        if self.phase is Phase.TRAINING:
            return min(self._started_at + self.setting.event.rounds.deadline, self._hands_in_at)
        if self.phase is Phase.COLLECTING and self._closed_at is not None:
            return self._closed_at + self.setting.event.rounds.collect
        return self.poll.deadline if self.phase is Phase.VOTING else None

    @property
    def claims(self) -> list[Claim]:
        """The contributions that this node knows of."""
        return list(self._pool)

    @property
    def training_peers(self) -> dict[PeerId, Progress]:
        """The newest progress of every peer that trains on this base."""
        return self._presence.training(self._now)

    @property
    def present(self) -> frozenset[PeerId]:
        """The peers that were heard of lately on this base, whether they train or not."""
        return self._presence.present(self._now)

    @property
    def committee_here(self) -> int:
        """How many members of the committee that decides now were heard of lately, this node included."""
        here = self.present | {self.setting.me}
        return sum(member in here for member in self.poll.voting.committee().members)

    @property
    def lacking(self) -> int:
        """How many contributions a merge still needs after the time for them is up: the round waits for them, however long."""
        closes = self.closes_at
        if self.phase is not Phase.COLLECTING or self.setting.is_over or closes is None or self._now < closes:
            return 0
        return self._gathering.lacking(checked=self.poll.is_member)

    @property
    def own_progress(self) -> Progress:
        """What we have to say of our own training."""
        return self._progress(done=self._closed_at is not None)

    # Inputs

    def start(self, now: float) -> list[Effect]:
        """Begin the round, or go on with it after a restart. Call it once, before anything else."""
        self._started_at = now
        self._resend_at = now + self.setting.tell
        state = self._state
        if state is not None and state.contribution is not None:
            self._take_own(Signed.decode(state.contribution), now)
        if state is not None:
            self.poll.restore(state, now)
        self._tell(now, done=self.contribution is not None)
        return self._advance(now)

    def receive(self, signed: Signed, now: float) -> list[Effect]:
        """Take in an envelope from the network, decoded but not verified.

        What is wrong with it comes back as `Refused`. For "bad_signature" and "unknown_kind" the named signer is not to blame: it
        need not have said this.
        """
        if self.phase is Phase.FINAL or signed.signer == self.setting.me:
            return []
        try:
            message = signed.open()
            if message.event != self.setting.event.digest:
                raise RemoteProtocolError("wrong_event")
            handler = self._HANDLERS.get(type(message))
            if handler is None:
                raise RemoteProtocolError("unexpected_kind", signed.kind)
            handler(self, signed, message, now)
        except RemoteProtocolError as error:
            self._out.append(Refused(signed.signer, error.reason, error.detail))
        return self._drain()

    def progress(self, samples: int, steps: int, loss: float, rate: float, now: float, *, done: bool = False) -> list[Effect]:
        """Report our own training in this round so far; `rate` is in samples a second. The others hear of it in a while."""
        self._own = (samples, steps, loss, rate)
        if done or steps >= self.setting.event.inner.steps:
            self._close("steps", now)
        return self._advance(now)

    def contributed(self, contribution: Contribution, now: float) -> list[Effect]:
        """Sign and announce our own contribution: on this base, or one that became stale on an older base.

        Raises LocalProtocolError if there is a different one on the same base already.
        """
        signed = Signed.seal(self.setting.identity, contribution)
        self._take_own(signed, now)
        self._out += [Persist(self.poll.state()), Send(signed)]
        return self._advance(now)

    def checked(self, digest: bytes, verdict: float | str, now: float) -> list[Effect]:
        """Answer CheckPayload for the envelope of this digest: the payload's norm, or a word for why it is refused.

        "unavailable" means that it could not be fetched; the check is asked for again when the contribution is heard again.
        """
        claim = self._pool.decide(digest, verdict, now)
        if claim is not None:
            claim.asked = verdict != UNAVAILABLE
            if isinstance(verdict, str):
                self._out.append(Refused(claim.signed.signer, verdict, digest.hex()))
            self.poll.judged(self._reviews.checked(claim.slot, now), now)
        return self._advance(now)

    def built(self, key: bytes, state: bytes | None, time: int, now: float) -> list[Effect]:
        """Answer BuildCommit: the merged state's hash, or None if the merge failed; `time` is the wall clock (Unix seconds)."""
        if self._draft is not None and self._draft.key == key:
            draft, self._draft = self._draft, None
            if state is not None:
                self.poll.offer(draft.complete(state, time), now)
        return self._advance(now)

    def failed_gate(self, key: bytes, at_fault: Collection[bytes], reason: str, now: float) -> list[Effect]:
        """Answer BuildCommit: the candidate failed a gate, and these envelopes (digests, at least one) are at fault."""
        if self._draft is not None and self._draft.key == key:
            if not at_fault:
                raise LocalProtocolError("a gate failed and nobody is at fault")
            self._draft = None
            for claim in filter(None, (self._pool.fail(digest, reason) for digest in at_fault)):
                self._out.append(Refused(claim.signed.signer, GATE, reason))
        return self._advance(now)

    def amended(self, now: float) -> list[Effect]:
        """Take in that there are new amendments: whom they shut out is not waited for, nor merged.

        A draft that is being built is begun again: its commit would not name them.
        """
        self._reviews.amended(now)
        setting, self._draft = self.setting, None
        for claim in self._pool:
            if claim.verdict in SHUT_OUT:
                continue
            problem = refusal(setting.event, claim.signed.signer, claim.contribution.admission, setting.ancestry.admitted)
            if problem is not None:
                claim.verdict, claim.decided = problem, now
                self._presence.exclude(claim.signed.signer)
                self._out.append(Refused(claim.signed.signer, problem))
        return self._advance(now)

    def know_verdicts(self, verdicts: Sequence[Opened]) -> None:
        """Take in the verdicts that no commit up to the base carries: a draft that is begun from now on carries of them."""
        self._gathering.verdicts = verdicts

    def commit_fetched(self, commit: Commit, now: float) -> list[Effect]:
        """Answer FetchCommit: the commit is here, its bytes have the hash that was asked for."""
        self.poll.judged(self._reviews.fetched(commit, now), now)
        self.poll.finish(now)
        return self._advance(now)

    def commit_missing(self, digest: bytes, now: float) -> list[Effect]:
        """Answer FetchCommit: nobody has it. It is asked for again when it is proposed again."""
        self._reviews.missing(digest)
        return self._advance(now)

    def replayed(self, digest: bytes, problem: str | None, now: float) -> list[Effect]:
        """Answer ReplayCommit: None if it is sound and no gate fails, else a word such as "state_mismatch"."""
        self.poll.judged(self._reviews.replayed(digest, problem, now), now)
        return self._advance(now)

    def refusals_checked(self, digest: bytes, upheld: frozenset[bytes], now: float) -> list[Effect]:
        """Answer CheckRefusals: these envelopes (digests) do fail the gate that the commit refuses them for."""
        self.poll.judged(self._reviews.refusals_checked(digest, upheld, now), now)
        return self._advance(now)

    def goodbye(self, now: float) -> list[Effect]:
        """Say that we leave. The machine can still be driven to the end of the round."""
        base = self.setting.base
        self._out.append(self._send(Goodbye(event=self.setting.event.digest, base=base.digest, round=base.round)))
        return self._drain()

    def tick(self, now: float) -> list[Effect]:
        """Let pass whatever time let pass; due at `next_deadline`, harmless at any other time."""
        self.poll.tick(now)
        if self.phase is not Phase.FINAL and now >= self._resend_at:
            self._resend_at = now + (self.setting.tell if self._closed_at is None else self.setting.resend)
            self._tell(now, done=self._closed_at is not None)
            self._out += [Send(signed) for signed in (*self._own_claims.values(), *self.poll.words())]
            self.poll.finish(now)
        return self._advance(now)

    def next_deadline(self) -> float | None:
        """Return when `tick` is due next; None once the round is final."""
        if self.phase is Phase.FINAL:
            return None
        phase_ends = self.closes_at
        due = [self._resend_at, *(end for end in (phase_ends,) if end is not None and end > self._now)]
        return min(due if self.poll.deadline is None else [*due, self.poll.deadline])

    # Messages

    def _on_progress(self, signed: Signed, progress: Progress, now: float) -> None:
        if not self._is_here(signed.signer, progress.base, progress.round, now):
            return
        inner = self.setting.event.inner
        if progress.samples > inner.steps * inner.batch:
            raise RemoteProtocolError("implausible", f"{progress.samples} samples in a round")
        counts = takes_part(self.setting.event, self.setting.ancestry, signed.signer)
        if signed.signer in self.setting.in_force.banned or not self._presence.note(signed.signer, progress, now, counts=counts):
            return
        if progress.done or self.setting.event.rounds.target_samples:
            self._settle(now)

    def _on_contribution(self, signed: Signed, contribution: Contribution, now: float) -> None:
        setting = self.setting
        problem = claim_problem(setting.event, setting.ancestry, signed, contribution, setting.payload_limit)
        if problem == "unknown_base":
            self._is_here(signed.signer, contribution.base, contribution.round, now)
        if problem == "spent":
            return  # merged already: the echo of a peer that has not heard of it
        if problem is not None:
            self._presence.exclude(signed.signer)
            if problem not in RECORDED:
                raise RemoteProtocolError(problem)
        claim = self._pool.add(signed, contribution, problem, now)
        if claim is not None and claim.refusal:
            self._out.append(Refused(signed.signer, claim.refusal))
        self._check(self._pool.get((signed.signer, contribution.base)))
        self._settle(now)

    def _on_goodbye(self, signed: Signed, goodbye: Goodbye, now: float) -> None:
        if self._is_here(signed.signer, goodbye.base, goodbye.round, now) and self._presence.leave(signed.signer, signed):
            self._settle(now)

    def _on_proposal(self, signed: Signed, proposal: Proposal, now: float) -> None:
        if self._is_here(signed.signer, proposal.base, self.setting.base.round, now):
            self.poll.on_proposal(signed, proposal, now)
            self._settle(now)

    def _on_attestation(self, signed: Signed, attestation: Attestation, now: float) -> None:
        parent = self.setting.ancestry.parent
        if parent is not None and self.certificate is not None and attestation.base == parent.digest:
            self.certificate = with_late_precommit(self.setting, self.certificate, signed, attestation)
        elif self._is_here(signed.signer, attestation.base, self.setting.base.round, now):
            self.poll.on_attestation(signed, attestation, now)
            self._settle(now)

    def _on_exhausted(self, signed: Signed, exhausted: Exhausted, now: float) -> None:
        if self._is_here(signed.signer, exhausted.base, self.setting.base.round, now):
            self.poll.on_exhausted(signed, exhausted, now)
            self._settle(now)

    _HANDLERS: ClassVar[dict[type[Message], Callable[[RoundMachine, Signed, Any, float], None]]] = {
        Progress: _on_progress,
        Contribution: _on_contribution,
        Goodbye: _on_goodbye,
        Proposal: _on_proposal,
        Attestation: _on_attestation,
        Exhausted: _on_exhausted,
    }

    def _is_here(self, peer: PeerId, base: bytes, round: int, now: float) -> bool:
        """Say whether a peer speaks of our base; else note who of us is behind."""
        if base == self.setting.base.digest:
            return True
        hint = self._neighbours.hint(peer, base, round, now)
        if hint is not None:
            self._out.append(hint)
        return False

    # Phases

    def _advance(self, now: float) -> list[Effect]:
        self._settle(now)
        return self._drain()

    def _settle(self, now: float) -> None:
        """Do what has become possible: close, collect, build, end."""
        self._now = now
        if self.phase is Phase.FINAL:
            return
        self._close_by_swarm(now)
        if self._is_collected(now):
            self.poll.start(now)
        if self.poll.voting.started and self.phase is not Phase.VOTING:
            self._turn(Turning.VOTE)
        if self._checked_epoch != self.poll.voting.turn.epoch:
            self._checked_epoch = self.poll.voting.turn.epoch
            for claim in self._pool:
                self._check(claim)
        if self.poll.wants_draft is not None and self._draft is None:
            self._build()
        if self.poll.is_final:
            self._turn(Turning.DECIDED)

    def _turn(self, turning: Turning) -> None:
        self.phase = TRANSITIONS[self.phase, turning]

    def _close(self, reason: str, now: float) -> None:
        if self._closed_at is None:
            self._closed_at = now
            self._resend_at = min(self._resend_at, now + self.setting.resend)
            self._turn(Turning.CLOSED)
            self._out.append(CloseTraining(reason))

    def _close_by_swarm(self, now: float) -> None:
        rounds = self.setting.event.rounds
        if self._closed_at is not None:
            return
        self._note_awaited(now)
        if 0 < rounds.target_samples <= self._presence.samples + self._own[0]:
            self._close("target", now)
        elif now >= self._started_at + rounds.deadline:
            self._close("deadline", now)
        elif not self.setting.trains and self._gathering.everyone_is_done(now):
            self._close("others", now)
        elif self._own[0] and now >= self._hands_in_at:
            self._close("awaited", now)

    @property
    def _hands_in_at(self) -> float:
        """When who is slower than the committee hands in what it has: later it would miss every round, and count for nothing."""
        since = self._awaited_since
        return inf if since is None else since + self.setting.event.rounds.collect / 2

    def _note_awaited(self, now: float) -> None:
        """Note since when as many of the committee as decide are done, and collect."""
        if self._awaited_since is not None or not self.setting.trains:
            return
        committee = self.poll.voting.committee()
        others = (member for member in committee.members if member != self.setting.me)
        if sum(self._gathering.is_done(member) for member in others) >= committee.quorum:
            self._awaited_since = now

    def _is_collected(self, now: float) -> bool:
        if self.phase is not Phase.COLLECTING or self._closed_at is None or self.setting.is_over:
            return False
        checked = self.poll.is_member
        late = now >= self._closed_at + self.setting.event.rounds.collect
        # What is enough takes long to find out in a large swarm, so it is asked last.
        return (late or self._gathering.is_complete(now, checked=checked)) and self._gathering.has_enough(checked=checked)

    def _build(self) -> None:
        self._draft = self._gathering.draft(self.certificate)
        if self._draft is not None:
            self._out.append(BuildCommit(self._draft))

    # Our own words

    def _take_own(self, signed: Signed, now: float) -> None:
        contribution = signed.open_as(Contribution)
        problem = claim_problem(
            self.setting.event, self.setting.ancestry, signed, contribution, self.setting.payload_limit
        )
        if problem is not None:
            raise LocalProtocolError(f"our own contribution is refused: {problem}")
        known = self._pool.get((signed.signer, contribution.base))
        if known is not None and known.signed.body != signed.body:
            raise LocalProtocolError("we have contributed something else on this base already")
        self._own_claims[contribution.base] = signed
        self._check(known or self._pool.add(signed, contribution, None, now))
        if contribution.base == self.setting.base.digest:
            self.contribution = self.poll.contribution = signed
            self._close("steps", now)

    def _check(self, claim: Claim | None) -> None:
        if claim is not None and self.poll.is_member:
            if claim.verdict == UNAVAILABLE and not claim.asked:
                claim.verdict = None
            self._reviews.check(claim)

    def _tell(self, now: float, *, done: bool) -> None:
        self._sequence += 1
        self._out.append(self._send(self._progress(done)))

    def _progress(self, done: bool) -> Progress:
        samples, steps, loss, rate = self._own
        base = self.setting.base
        return Progress(
            event=self.setting.event.digest,
            base=base.digest,
            round=base.round,
            samples=samples,
            steps=steps,
            loss=loss,
            rate=rate,
            trains=self.setting.trains,
            done=done,
            sequence=self._sequence,
        )

    def _send(self, message: Message) -> Send:
        return Send(Signed.seal(self.setting.identity, message))

    def _drain(self) -> list[Effect]:
        effects = list(self._out)
        self._out.clear()
        return effects
