"""The contributions that this node knows of for one merge, and what it thinks of each."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from ..identity import PeerId
from ..merging import EQUIVOCATION
from ..messages import Contribution, Signed

Slot: TypeAlias = tuple[PeerId, bytes]
MAX_CLAIMS = 4096
UNAVAILABLE = "unavailable"


@dataclass
class Claim:
    """One contribution of one peer on one base.

    `verdict` is the payload's norm, why it is refused, or None while that is open; `decided` is when the verdict came (seconds of
    the round's clock). `twin` is a second, different contribution for the same slot: proof that the peer says two things. `gate`
    is the refusal for a gate that this node has seen it fail.
    """

    signed: Signed
    contribution: Contribution
    verdict: float | str | None
    decided: float
    twin: Signed | None = None
    asked: bool = False
    gate: str | None = None

    @property
    def slot(self) -> Slot:
        """Peer and base: there is one contribution for each."""
        return self.signed.signer, self.contribution.base

    @property
    def refusal(self) -> str | None:
        """Why it stays out of the merge; None if it is fine, or not checked yet."""
        if self.twin is not None:
            return EQUIVOCATION
        return self.verdict if isinstance(self.verdict, str) else self.gate

    @property
    def norm(self) -> float | None:
        """The payload's norm, if it may enter the merge."""
        return self.verdict if isinstance(self.verdict, float) and self.refusal is None else None

    @property
    def fails_a_gate(self) -> bool:
        """Whether it is sound but for a gate that refused it."""
        return self.gate is not None and self.refusal == self.gate


class Pool:
    """At most one claim (and one twin) for each peer and base; where there are too many, a member's takes a stranger's place."""

    def __init__(self, members: Collection[PeerId] = ()) -> None:
        self._members = members
        self._claims: dict[Slot, Claim] = {}
        self._slots: dict[bytes, Slot] = {}

    def __iter__(self) -> Iterator[Claim]:
        return iter(self._claims.values())

    def __len__(self) -> int:
        return len(self._claims)

    def get(self, slot: Slot) -> Claim | None:
        """Return the claim for a peer and base."""
        return self._claims.get(slot)

    def by_digest(self, digest: bytes) -> Claim | None:
        """Return the claim whose envelope has this digest."""
        slot = self._slots.get(digest)
        return self._claims.get(slot) if slot else None

    def add(self, signed: Signed, contribution: Contribution, problem: str | None, now: float) -> Claim | None:
        """Keep a contribution; `problem` is a refusal that needs no payload. Returns the claim if it is new or now has a twin."""
        slot = (signed.signer, contribution.base)
        known = self._claims.get(slot)
        if known is None:
            if len(self._claims) >= MAX_CLAIMS and not self._made_room(signed.signer):
                return None
            self._slots[signed.digest] = slot
            self._claims[slot] = Claim(signed, contribution, verdict=problem, decided=now)
            return self._claims[slot]
        if known.signed.body == signed.body or known.twin is not None:
            return None
        known.twin, known.decided = signed, now
        return known

    def _made_room(self, signer: PeerId) -> bool:
        """Forget a stranger's claim for a member's: keys cost nothing, a place on the roster does."""
        strange = next((slot for slot in reversed(self._claims) if slot[0] not in self._members), None)
        if signer not in self._members or strange is None:
            return False
        del self._slots[self._claims.pop(strange).signed.digest]
        return True

    def fail(self, digest: bytes, reason: str) -> Claim | None:
        """Note that a gate refuses the contribution in the envelope of this digest."""
        claim = self.by_digest(digest)
        if claim is not None:
            claim.gate = reason
        return claim

    def decide(self, digest: bytes, verdict: float | str, now: float) -> Claim | None:
        """Note what a payload's check showed; a payload that could not be had may be tried again later."""
        claim = self.by_digest(digest)
        if claim is None or claim.verdict not in (None, UNAVAILABLE):
            return None
        claim.verdict, claim.decided = verdict, now
        return claim
