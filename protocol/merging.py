"""What goes into a commit, computed the same way by who proposes it and by whoever checks it.

Everything in a commit but its state hash follows from the event, the ancestors and the signed messages that it lists. So a check
is a rebuild: `verify_commit` makes the commit again from its own list, and compares. What needs the payloads' bytes (the clips,
refusals for what a payload holds or for a gate, the state hash) is left to the committee's replay.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from .admission import USED_UP, refusal, too_many
from .amendments.event import AmendedEvent
from .ancestry import Ancestry
from .carried import verify_verdicts
from .certificates import verify_certificate
from .commit import Accepted, Certificate, Commit, Rejected, open_contribution
from .errors import RemoteProtocolError
from .event import EventManifest, MergeMethod
from .gates import gate_of
from .identity import PeerId, public_key_of
from .messages import Contribution, Goodbye, Signed
from .roster import next_roster
from .shares import shares, stale_samples

MAX_ACCEPTED = 2048
MAX_REJECTED = 1024
MAX_DEPARTED = 1024
_MAX_LOSS = 1e6
# Refusals that follow from the claim itself and are worth recording; anything else on a commit's list is about a payload.
RECORDED = frozenset({"implausible", "fisher", "oversized"})
EQUIVOCATION = "equivocation"
# Refusals that `verify_commit` settles, without the payloads.
SETTLED = RECORDED | {EQUIVOCATION, USED_UP}


@dataclass(frozen=True)
class Part:
    """A contribution as it enters a merge: share of the whole, and the factor (at most 1) that clips its norm."""

    signed: Signed
    contribution: Contribution
    share: Fraction
    clip: float


@dataclass(frozen=True)
class Draft:
    """A commit that lacks only its state hash and its time; `commit` holds zeros in their place."""

    commit: Commit

    @property
    def key(self) -> bytes:
        """What names the draft until its commit has a digest."""
        return self.commit.digest

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """What is to be merged, in the canonical order."""
        return parts(self.commit)

    def complete(self, state: bytes, time: int) -> Commit:
        """Return the commit, given the merged state's hash and the proposer's clock (Unix seconds)."""
        return Commit.from_fields(_fields(self.commit) | {"state": state, "time": time})


def parts(commit: Commit) -> tuple[Part, ...]:
    """Return what a commit merged, in the canonical order. Raises RemoteProtocolError if an envelope is not what it says."""
    opened = zip(commit.accepted, commit.contributions(), strict=True)
    return tuple(Part(signed, contribution, _share(accepted), accepted.clip) for accepted, (signed, contribution) in opened)


def method_of(event: EventManifest, round: int) -> MergeMethod:
    """Return the merge method of the commit of `round`."""
    return event.merge.full_method if event.is_full_merge(round) else event.merge.method


def clip_of(event: EventManifest, norm: float) -> float:
    """Return the factor that brings an update of this norm (finite, not negative) down to `merge.max_norm`."""
    return min(1.0, event.merge.max_norm / norm) if norm > 0 else 1.0


def claim_problem(
    event: EventManifest, ancestry: Ancestry, signed: Signed, claim: Contribution, payload_limit: int | None = None
) -> str | None:
    """Return why a contribution (its signature is checked) cannot enter the commit after `ancestry.base`, or None.

    `payload_limit` is the largest payload in bytes that the event's model and codec allow; None leaves sizes unchecked.
    """
    age = ancestry.staleness(claim.base)
    if claim.event != event.digest:
        return "wrong_event"
    if age is None:
        return "unknown_base"
    if claim.round != ancestry.commits[age].round:
        return "wrong_round"
    if age > event.rounds.max_staleness or (age and not _rebases(event, claim.round + 1, ancestry.base.round + 1)):
        return "stale"
    if ancestry.is_spent(signed.signer, claim.base):
        return "spent"
    barred = refusal(event, signed.signer, claim.admission, ancestry.admitted)
    return barred or _implausible(event, signed.signer, claim, payload_limit)


def _rebases(event: EventManifest, made_for: int, used_in: int) -> bool:
    if isinstance(event, AmendedEvent) and made_for < event.recipe_since:
        return False
    same_kind = event.is_full_merge(made_for) == event.is_full_merge(used_in)
    return same_kind and method_of(event, made_for) == method_of(event, used_in) and _decay(event) > 0


def _implausible(event: EventManifest, signer: PeerId, claim: Contribution, payload_limit: int | None) -> str | None:
    if public_key_of(signer) in (key for key, _ in claim.received):
        return "implausible"  # nobody serves himself
    if claim.samples != claim.steps * event.inner.batch or claim.steps > event.inner.steps or abs(claim.loss) > _MAX_LOSS:
        return "implausible"
    if (claim.fisher is not None) != (method_of(event, claim.round + 1) == "fisher"):
        return "fisher"
    sizes = [blob.size for blob in (claim.payload, claim.fisher) if blob is not None]
    if payload_limit is not None and max(sizes) > payload_limit:
        return "oversized"
    return None


def make_draft(
    event: EventManifest,
    ancestry: Ancestry,
    *,
    accepted: Iterable[tuple[Signed, Contribution, float]],
    rejected: Iterable[tuple[Signed, str]],
    departed: Iterable[Signed],
    certificate: Certificate | None,
    proposer: PeerId,
    amendment: bytes | None = None,
    verdicts: Iterable[Signed] = (),
) -> Draft:
    """Return the commit after `ancestry.base` without its state hash, the same for any order of the arguments' items.

    `event` is the event with the amendments up to `amendment`, which the commit names.

    `accepted` holds (envelope, claim, clip), `rejected` (envelope, reason), `departed` the goodbyes of members; `certificate` is
    what made the base final (None for the root); `verdicts` are about other commits, and only carried.
    """
    base = ancestry.base
    entries = sorted(accepted, key=lambda entry: entry[0].digest)
    farewells = sorted(departed, key=lambda signed: signed.signer)
    round = base.round + 1
    active = {signed.signer for signed, _, _ in entries} | set(_attesters(event, ancestry, certificate))
    samples = [claim.samples for _, claim, _ in entries]
    fractions = _shares(event, ancestry, [claim for _, claim, _ in entries])
    fields = {
        "event": event.digest,
        "parents": (base.digest,),
        "round": round,
        "state": bytes(32),
        "method": method_of(event, round),
        "full": event.is_full_merge(round),
        "accepted": tuple(
            _accepted(signed, share, clip) for (signed, _, clip), share in zip(entries, fractions, strict=True)
        ),
        "rejected": tuple(
            Rejected(envelope=signed.encode(), reason=reason)
            for signed, reason in sorted(rejected, key=lambda entry: entry[0].digest)
        ),
        "departed": tuple(signed.encode() for signed in farewells),
        "roster": next_roster(
            base.roster,
            round,
            active=active,
            gone={signed.signer for signed in farewells} | set(event.admission.banned),
            silent_rounds=event.rounds.silent_rounds,
        ),
        "samples": base.samples + sum(samples),
        "loss": math.fsum(claim.loss * claim.samples for _, claim, _ in entries) / sum(samples) if entries else None,
        "proposer": proposer,
        "time": 0,
        "parent_certificate": certificate,
        "amendment": amendment,
        "verdicts": tuple(signed.encode() for signed in sorted(verdicts, key=lambda signed: signed.digest)),
    }
    return Draft(Commit.from_fields(fields))


def group_parts(
    event: EventManifest, ancestry: Ancestry, claims: Iterable[tuple[Signed, Contribution]]
) -> tuple[Part, ...]:
    """Return some contributions as a merge of their own, in the canonical order: what a gate is run on to find who is at fault.

    The clips are left at 1: a merge computes them from the payloads.
    """
    entries = sorted(claims, key=lambda entry: entry[0].digest)
    fractions = _shares(event, ancestry, [claim for _, claim in entries])
    return tuple(Part(signed, claim, share, 1.0) for (signed, claim), share in zip(entries, fractions, strict=True))


def _shares(event: EventManifest, ancestry: Ancestry, claims: Sequence[Contribution]) -> list[Fraction]:
    counted = [stale_samples(claim.samples, ancestry.staleness(claim.base) or 0, _decay(event)) for claim in claims]
    return shares(counted, Fraction(event.merge.cap).limit_denominator(10**6))


def verify_commit(event: EventManifest, ancestry: Ancestry, commit: Commit, payload_limit: int | None = None) -> None:
    """Check all of a commit on `ancestry.base` that needs no payload. Raises RemoteProtocolError with the rule it breaks.

    `event` is the event as it was created: the amendments that the commit and its ancestors name are the ancestry's.
    """
    if commit.event != event.digest:
        raise RemoteProtocolError("wrong_event")
    if commit.parents != (ancestry.base.digest,):
        raise RemoteProtocolError("wrong_parents")
    event = ancestry.event(event, commit.amendment)
    if isinstance(event, AmendedEvent) and event.paused:
        raise RemoteProtocolError("event_paused")
    if 0 < event.rounds.last_round < commit.round:
        raise RemoteProtocolError("event_over", f"round {commit.round} after the last, {event.rounds.last_round}")
    if commit.proposer not in {member.peer for member in ancestry.base.roster}:
        raise RemoteProtocolError("wrong_proposer", commit.proposer)
    accepted = _open_accepted(event, ancestry, commit, payload_limit)
    rejected = _open_rejected(event, ancestry, commit, payload_limit)
    claimed = {(signed.signer, claim.base) for signed, claim, _ in accepted}
    if len(claimed) != len(accepted) or claimed & {(signed.signer, claim.base) for signed, claim, _ in rejected}:
        raise RemoteProtocolError("duplicate", "two contributions of one peer on one base")
    late = [(signed, claim) for signed, claim, reason in rejected if reason == USED_UP]
    crowd = [*late, *((signed, claim) for signed, claim, _ in accepted)]
    if too_many(event, ancestry.admitted, crowd) != {signed.digest for signed, _ in late}:
        raise RemoteProtocolError("wrong_rejected", f"{USED_UP}: the first that a token has a place for are in, and no others")
    draft = make_draft(
        event,
        ancestry,
        accepted=accepted,
        rejected=[(signed, reason) for signed, _, reason in rejected],
        departed=_open_departed(ancestry, commit),
        certificate=commit.parent_certificate,
        proposer=commit.proposer,
        amendment=commit.amendment,
        verdicts=verify_verdicts(event, ancestry, commit),
    )
    _compare(draft.complete(commit.state, commit.time), commit)


def _open_accepted(
    event: EventManifest, ancestry: Ancestry, commit: Commit, payload_limit: int | None
) -> list[tuple[Signed, Contribution, float]]:
    # A round whose contributions fail a gate is over all the same: nobody has another one on this base.
    enough = len(commit.accepted) + len(commit.failed_gates()) >= event.rounds.min_contributors
    if not enough or len(commit.accepted) > MAX_ACCEPTED:
        raise RemoteProtocolError("wrong_accepted", f"{len(commit.accepted)} contributions")
    opened = []
    for accepted, (signed, claim) in zip(commit.accepted, commit.contributions(), strict=True):
        problem = claim_problem(event, ancestry, signed, claim, payload_limit)
        if problem is not None:
            raise RemoteProtocolError("wrong_accepted", problem)
        opened.append((signed, claim, accepted.clip))
    return opened


def _open_rejected(
    event: EventManifest, ancestry: Ancestry, commit: Commit, payload_limit: int | None
) -> list[tuple[Signed, Contribution, str]]:
    if len(commit.rejected) > MAX_REJECTED:
        raise RemoteProtocolError("wrong_rejected", "too many")
    opened = [(*open_contribution(rejected.envelope), rejected.reason) for rejected in commit.rejected]
    bodies = Counter((signer, base) for signer, base, _ in {(s.signer, claim.base, s.body) for s, claim, _ in opened})
    for signed, claim, reason in opened:
        twofold = bodies[signed.signer, claim.base] == 2
        problem = claim_problem(event, ancestry, signed, claim, payload_limit)
        if problem is not None and problem not in RECORDED:
            raise RemoteProtocolError("wrong_rejected", f"{problem} is not recorded")
        expected = EQUIVOCATION if twofold else problem
        unchecked = reason == "oversized" and payload_limit is None
        if expected is None and reason in RECORDED | {EQUIVOCATION} and not unchecked:
            raise RemoteProtocolError("wrong_rejected", f"{reason}, which it is not")
        if expected is not None and reason != expected and not unchecked:
            raise RemoteProtocolError("wrong_rejected", f"{reason} where it is {expected}")
        if gate_of(reason) not in {None, *(gate.name for gate in event.round_gates())}:
            raise RemoteProtocolError("wrong_rejected", f"{reason}, which the event does not have")
    if len(opened) != sum(bodies.values()) or max(bodies.values(), default=0) > 2:
        raise RemoteProtocolError("duplicate", "one refusal twice")
    return opened


def _open_departed(ancestry: Ancestry, commit: Commit) -> list[Signed]:
    if len(commit.departed) > MAX_DEPARTED:
        raise RemoteProtocolError("wrong_departed", "too many")
    members = {member.peer for member in ancestry.base.roster}
    opened = [Signed.decode(envelope) for envelope in commit.departed]
    for signed in opened:
        if signed.open_as(Goodbye).base != ancestry.base.digest or signed.signer not in members:
            raise RemoteProtocolError("wrong_departed", signed.signer)
    if len({signed.signer for signed in opened}) != len(opened):
        raise RemoteProtocolError("duplicate", "one goodbye twice")
    return opened


def _attesters(event: EventManifest, ancestry: Ancestry, certificate: Certificate | None) -> Sequence[PeerId]:
    if (certificate is None) != (ancestry.base.method == "root"):
        raise RemoteProtocolError("bad_certificate", "every parent but the root has one")
    if certificate is None:
        return ()
    if ancestry.parent is None or certificate.commit != ancestry.base.digest:
        raise RemoteProtocolError("bad_certificate", "for another commit")
    return verify_certificate(ancestry.event_on(event, ancestry.parent), ancestry.parent, certificate)


def _compare(expected: Commit, commit: Commit) -> None:
    if expected == commit:
        return
    wrong = next(name for name in Commit.model_fields if getattr(expected, name) != getattr(commit, name))
    raise RemoteProtocolError(f"wrong_{wrong}")


def _fields(commit: Commit) -> dict[str, object]:
    return {name: getattr(commit, name) for name in Commit.model_fields}


def _accepted(signed: Signed, share: Fraction, clip: float) -> Accepted:
    return Accepted(
        envelope=signed.encode(),
        numerator=_integer_bytes(share.numerator),
        denominator=_integer_bytes(share.denominator),
        clip=clip,
    )


def _integer_bytes(value: int) -> bytes:
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def _share(accepted: Accepted) -> Fraction:
    """Return the exact share. Raises RemoteProtocolError for a fraction that is not in (0, 1]."""
    numerator, denominator = (int.from_bytes(part, "big") for part in (accepted.numerator, accepted.denominator))
    if not 0 < numerator <= denominator:
        raise RemoteProtocolError("wrong_shares", "not in (0, 1]")
    return Fraction(numerator, denominator)


def _decay(event: EventManifest) -> Fraction:
    return Fraction(event.rounds.stale_decay).limit_denominator(10**6)
