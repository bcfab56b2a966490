"""How a committee member comes to a verdict on a proposed commit.

A proposal names a commit by its hash. It is fetched, checked against the rules (`verify_commit`), replayed by the driver, and
compared with what this node itself received: a contribution that it checked in good time and that the commit neither merged nor
refused was left out, and so was an amendment that came in good time and that the commit does not follow. The proposer's
refusals must be ones that this node shares.

Gates (`node/gates/gatekeeper.py` tells how those at fault are found). A candidate that fails one, and a refusal for a gate that
does not show here, make a commit UNFAIR, not UNSOUND: it is prevoted against while it is new. A measurement is not bit-identical
on all hardware, as a merge is, so it must not stop a commit that more than 2/3 of the committee measured and found good; and with
fewer than a third faulty no commit is final whose candidate fails at every honest member. The voting core knows nothing of gates.

Where honest members differ so that no candidate finds more than 2/3, an epoch ends without a commit. So that the swarm goes on,
a member becomes more patient from epoch to epoch: from the second on it believes refusals for gates (to leave out too much harms
nobody's model), and the tolerance that a candidate is held to doubles. Limit: what passes in a late epoch may be worse by that.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from ..commit import Commit, open_contribution
from ..errors import RemoteProtocolError
from ..gates import gate_of
from ..identity import PeerId
from ..merging import EQUIVOCATION, SETTLED, claim_problem, verify_commit
from ..messages import Blob
from .actions import Verdict
from .effects import CheckPayload, CheckRefusals, Effect, FetchCommit, Refused, ReplayCommit, Send
from .pool import UNAVAILABLE, Claim, Pool, Slot
from .setting import Setting

MAX_REVIEWS = 256
GATE = "gate"
Verdicts: TypeAlias = list[tuple[bytes, Verdict]]


@dataclass
class Review:
    """One proposed commit; `replay` is "" once it gave the same state hash, or says what went wrong."""

    blob: Blob
    proposer: PeerId
    arrived: float
    commit: Commit | None = None
    fetching: bool = False
    begun: bool = False
    replay: str | None = None
    refused: dict[Slot, str] = field(default_factory=dict)
    accused: frozenset[bytes] = frozenset()
    upheld: frozenset[bytes] | None = None
    verdict: Verdict | None = None


class Reviews:
    """All reviews of one round. Methods that may complete one return the new verdicts."""

    def __init__(
        self, setting: Setting, pool: Pool, emit: Callable[[Effect], None], is_member: Callable[[], bool],
        epoch: Callable[[], int],
    ) -> None:  # fmt: skip
        """`is_member` says whether we vote now; who does not vote fetches commits but replays none. `epoch`: which one it is."""
        self._setting = setting
        self._pool = pool
        self._emit = emit
        self._is_member = is_member
        self._epoch = epoch
        self._reviews: dict[bytes, Review] = {}
        self._amended = -math.inf

    def amended(self, now: float) -> None:
        """Note that new amendments came in: from a while later on, a commit that names none of them leaves them out."""
        self._amended = now

    def commit(self, digest: bytes) -> Commit | None:
        """Return a proposed commit, if it was fetched."""
        review = self._reviews.get(digest)
        return review.commit if review else None

    def own(self, commit: Commit, blob: Blob, now: float) -> Verdicts:
        """Take in a commit that we built ourselves."""
        verdict = Verdict.SOUND
        self._reviews[commit.digest] = Review(blob, self._setting.me, now, commit=commit, begun=True, replay="", verdict=verdict)
        return [(commit.digest, verdict)]

    def propose(self, blob: Blob, proposer: PeerId, now: float) -> Verdicts:
        """Begin, or go on with, the review of a proposed commit."""
        if blob.sha256 not in self._reviews and len(self._reviews) >= MAX_REVIEWS:
            return []
        review = self._reviews.setdefault(blob.sha256, Review(blob, proposer, now))
        if review.commit is None and not review.fetching:
            review.fetching = True
            self._emit(FetchCommit(blob, (proposer,)))
        return self._advance(review, now)

    def fetched(self, commit: Commit, now: float) -> Verdicts:
        """Take in the commit that was asked for."""
        review = self._reviews.get(commit.digest)
        if review is None or review.commit is not None:
            return []
        review.commit = commit
        return self._advance(review, now)

    def missing(self, digest: bytes) -> None:
        """The commit could not be had: ask again when it is proposed again."""
        if digest in self._reviews:
            self._reviews[digest].fetching = False

    def replayed(self, digest: bytes, problem: str | None, now: float) -> Verdicts:
        """Take in the result of a replay."""
        review = self._reviews.get(digest)
        if review is None or review.replay is not None:
            return []
        review.replay = problem or ""
        return self._advance(review, now)

    def refusals_checked(self, digest: bytes, upheld: frozenset[bytes], now: float) -> Verdicts:
        """Take in which of a commit's refusals for gates are right."""
        review = self._reviews.get(digest)
        if review is None or review.upheld is not None:
            return []
        assert review.commit is not None
        self._uphold(review, review.commit, upheld & review.accused)
        return self._advance(review, now)

    def _uphold(self, review: Review, commit: Commit, upheld: frozenset[bytes]) -> None:
        review.upheld = upheld
        for rejected in commit.rejected:
            signed, _ = open_contribution(rejected.envelope)
            if signed.digest in upheld:
                self._pool.fail(signed.digest, rejected.reason)

    def checked(self, slot: Slot, now: float) -> Verdicts:
        """A payload's check ended: a review may have waited for it."""
        waiting = [review for review in self._reviews.values() if review.verdict is None and slot in review.refused]
        return [verdict for review in waiting for verdict in self._advance(review, now)]

    def check(self, claim: Claim) -> None:
        """Have a payload inspected, once."""
        if claim.verdict is None and not claim.asked:
            claim.asked = True
            self._emit(CheckPayload(claim.signed, claim.contribution))

    def _advance(self, review: Review, now: float) -> Verdicts:
        if review.verdict is not None or review.commit is None or not self._is_member():
            return []
        if not review.begun:
            review.begun = True
            self._begin(review, review.commit, now)
        if review.verdict is None and not self._judge(review, review.commit):
            return []
        assert review.verdict is not None
        return [(review.blob.sha256, review.verdict)]

    def _begin(self, review: Review, commit: Commit, now: float) -> None:
        setting = self._setting
        try:
            verify_commit(setting.event, setting.ancestry, commit, setting.payload_limit)
        except RemoteProtocolError as error:
            self._reject(review, error.reason, error.detail)
            return
        for rejected in commit.rejected:
            signed, contribution = open_contribution(rejected.envelope)
            problem = claim_problem(setting.event, setting.ancestry, signed, contribution, setting.payload_limit)
            claim = self._pool.add(signed, contribution, problem, now) or self._pool.get((signed.signer, contribution.base))
            if gate_of(rejected.reason) is not None:
                review.accused |= {signed.digest}
            elif rejected.reason not in SETTLED:
                review.refused[signed.signer, contribution.base] = rejected.reason
            else:
                continue
            if claim is not None:
                self.check(claim)
        self._emit(ReplayCommit(commit, patience=self._epoch()))
        if review.accused and not self._epoch():
            self._emit(CheckRefusals(commit))
        else:
            self._uphold(review, commit, review.accused)

    def _judge(self, review: Review, commit: Commit) -> bool:
        # What the proposer could not have is not waited for: who serves it trickles it to us too, for longer than a view.
        if review.replay is None or any(self._is_open(slot) for slot, why in review.refused.items() if why != UNAVAILABLE):
            return False
        if review.upheld is None:
            return False
        failed = gate_of(review.replay) is not None
        if review.replay and not failed:
            self._reject(review, review.replay, "")
            return True
        unfair = GATE if failed else self._omission(review, commit) or self._dispute(review)
        if unfair:
            self._emit(Refused(review.proposer, unfair, commit.digest.hex()))
        review.verdict = Verdict.UNFAIR if unfair else Verdict.SOUND
        return True

    def _reject(self, review: Review, reason: str, detail: str) -> None:
        review.verdict = Verdict.UNSOUND
        self._emit(Refused(review.proposer, reason, detail))

    def _is_open(self, slot: Slot) -> bool:
        claim = self._pool.get(slot)
        return claim is not None and claim.verdict is None and claim.twin is None

    def _omission(self, review: Review, commit: Commit) -> str | None:
        """Compare with what we had in good time, and pass on what the proposer seems not to have."""
        setting = self._setting
        if self._amended <= review.arrived - setting.grace and not setting.amendments.follows(
            commit.amendment, setting.in_force.digest
        ):
            return "unamended"
        merged = {(signed.signer, contribution.base) for signed, contribution in commit.contributions()}
        opened = (open_contribution(rejected.envelope) for rejected in commit.rejected)
        seen = merged | {(signed.signer, contribution.base) for signed, contribution in opened}
        in_time = [claim for claim in self._pool if claim.decided <= review.arrived - self._setting.grace]
        omitted = [claim for claim in in_time if claim.norm is not None and claim.slot not in seen]
        twofold = [claim for claim in in_time if claim.twin is not None and claim.slot in merged]
        for claim in omitted + twofold:
            self._emit(Send(claim.signed))
            if claim.twin is not None:
                self._emit(Send(claim.twin))
        return "omitted" if omitted else EQUIVOCATION if twofold else None

    def _dispute(self, review: Review) -> str | None:
        if review.accused != review.upheld:
            return "disputed"
        for slot, reason in review.refused.items():
            claim = self._pool.get(slot)
            if claim is None:
                return "disputed"
            if reason == UNAVAILABLE and self._is_open(slot):
                continue
            ours = claim.refusal
            late = reason == UNAVAILABLE and claim.decided > review.arrived - self._setting.grace
            if not late and (ours is None or (ours == UNAVAILABLE and reason != UNAVAILABLE)):
                return "disputed"
        return None
