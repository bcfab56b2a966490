"""What does not change during a round: the event, the base and its ancestors, who we are, and how long to wait."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from ..amendments import Amendments, InForce
from ..ancestry import Ancestry
from ..commit import Certificate, Commit
from ..committee import Committee, draw
from ..event import EventManifest
from ..identity import Identity, PeerId
from .actions import Step, Turn

# A step's share of the view's time. All three waits together are shorter than the turn, which ends without a quorum.
_SHARES = {Step.PROPOSE: 1.0, Step.PREVOTE: 0.5, Step.PRECOMMIT: 0.5, Step.VIEW: 2.25}


@dataclass(frozen=True)
class Setting:
    """The fixed part of one round; `payload_limit` is the largest payload in bytes that model and codec allow.

    What is fixed of the event is what its base leaves (`drawn_by`): `event` follows the amendments that come in.
    """

    amendments: Amendments
    ancestry: Ancestry
    identity: Identity
    trains: bool
    payload_limit: int
    _drawn: dict[int, Committee] = field(default_factory=dict)
    _last: list[Committee] = field(default_factory=list)
    _events: dict[bytes | None, EventManifest] = field(default_factory=dict)

    @property
    def in_force(self) -> InForce:
        """What is in force with the newest amendments, which a commit that we propose names."""
        return self.amendments.newest(self.base.amendment)

    @property
    def event(self) -> EventManifest:
        """The event for a commit that we propose now."""
        named = self.in_force.digest
        if named not in self._events:
            self._events[named] = self.amendments.event(self.base, named)
        return self._events[named]

    @cached_property
    def drawn_by(self) -> EventManifest:
        """The event as the base leaves it, the same on every node for the whole round."""
        return self.amendments.event_on(self.base)

    @property
    def base(self) -> Commit:
        """The commit that the round builds on."""
        return self.ancestry.base

    @property
    def me(self) -> PeerId:
        """Our own peer id."""
        return self.identity.peer_id

    @property
    def is_over(self) -> bool:
        """Whether the event's last round is behind us, or it rests."""
        return self.in_force.paused or self.in_force.is_over(self.base.round)

    def committee(self, epoch: int) -> Committee:
        """Return the committee of an epoch, drawn once."""
        if epoch not in self._drawn:
            if len(self._drawn) >= 8:
                self._drawn.clear()
            self._drawn[epoch] = draw(self.drawn_by, self.base, epoch)
        return self._drawn[epoch]

    def last_committee(self, certificate: Certificate) -> Committee:
        """Return the committee that made the base final, drawn once; `certificate` is the base's."""
        assert self.ancestry.parent is not None
        if not self._last:
            self._last.append(draw(self.amendments.event_on(self.ancestry.parent), self.ancestry.parent, certificate.epoch))
        return self._last[0]

    @property
    def resend(self) -> float:
        """Seconds between two sendings of our newest words, while the round is not over."""
        return self.drawn_by.rounds.view / 2

    @property
    def tell(self) -> float:
        """Seconds between two progress messages while we train: a longer round is no reason to say more."""
        return max(self.resend, self.drawn_by.rounds.deadline / 20)

    @property
    def grace(self) -> float:
        """Seconds that a contribution may take to a proposer before leaving it out counts as an omission."""
        return self.drawn_by.rounds.view / 2

    @property
    def silence(self) -> float:
        """Seconds after which a peer that says nothing is not waited for."""
        return max(2 * self.drawn_by.rounds.view, 3 * self.tell)

    def duration(self, turn: Turn, step: Step) -> float:
        """Return how long a step of a turn may take, in seconds: longer with every view, so that at last it suffices."""
        return self.drawn_by.rounds.view * (1 + turn.view / 2) * _SHARES[step]
