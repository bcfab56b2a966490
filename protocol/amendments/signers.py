"""Who signs for an event, its releases and certificates, from one amendment to the next.

The maintainers where the event names some, else its coordinators, as many as have to sign an amendment.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..event import Maintainers
from ..identity import PeerId
from .state import InForce


@dataclass(frozen=True)
class Signers:
    """`threshold` of these `keys`, since the amendment `since` (None: since the event was created)."""

    keys: tuple[PeerId, ...]
    threshold: int = 1
    since: bytes | None = None

    @classmethod
    def under(cls, state: InForce) -> Signers:
        """Return who signs while `state` is in force, as if its newest amendment had appointed them."""
        rule = state.created.maintainers or Maintainers(keys=state.coordinators, threshold=state.threshold)
        return cls(tuple(sorted(rule.keys)), rule.threshold, state.digest)

    def are_as(self, other: Signers) -> bool:
        """Say whether the same people, and as many of them, have to sign."""
        return (self.keys, self.threshold) == (other.keys, other.threshold)

    def missing(self, signers: Iterable[PeerId]) -> int:
        """Return how many have to sign beside `signers`, of whom others than these do not count."""
        return max(0, self.threshold - len(set(signers) & set(self.keys)))


def in_turn(states: Iterable[InForce]) -> list[Signers]:
    """Return who signed in turn while these states were in force, oldest first; the last still do."""
    found: list[Signers] = []
    for state in states:
        signers = Signers.under(state)
        if not found or not signers.are_as(found[-1]):
            found.append(signers)
    return found
