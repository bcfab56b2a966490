"""Who decides a round: a committee drawn from the base commit's roster, the same on every node.

Rendezvous hashing (Thaler & Ravishankar 1998): each member's score is a hash of the base commit, the epoch and its peer id; the
highest scores sit on the committee, and their order is the order in which they propose.
"""

from dataclasses import dataclass

from .canonical import encode
from .commit import Commit
from .event import EventManifest
from .identity import PeerId
from .record import sha256

# 3f + 1 members tolerate f faulty ones.
SMALLEST_TOLERANT = 4


@dataclass(frozen=True)
class Committee:
    """The members in proposer order."""

    members: tuple[PeerId, ...]

    @property
    def quorum(self) -> int:
        """The smallest number of members that is more than 2/3 of them: two quorums share an honest member."""
        return 2 * len(self.members) // 3 + 1

    def proposer(self, view: int) -> PeerId:
        """Return who proposes in `view`."""
        return self.members[view % len(self.members)]

    def __contains__(self, peer: object) -> bool:
        return peer in self.members


def draw(event: EventManifest, base: Commit, epoch: int) -> Committee:
    """Draw the committee that decides on the commit after `base`, in the given epoch.

    Members that took part in the last `silent_rounds` rounds are on the roster. Fewer than four cannot tolerate a faulty one, so
    as long as the swarm is that small its coordinator decides alone, and the first volunteers may come and go; in every second
    epoch, which more than half of them must ask for, the others decide, in case the coordinator is gone.
    """
    peers = [member.peer for member in base.roster]
    if len(peers) < SMALLEST_TOLERANT and event.coordinator in peers:
        others = tuple(sorted(peer for peer in peers if peer != event.coordinator))
        return Committee(others if epoch % 2 and others else (event.coordinator,))
    size = min(event.rounds.committee, len(base.roster))
    ranked = sorted((member.peer for member in base.roster), key=lambda peer: _score(base.digest, epoch, peer))
    return Committee(tuple(ranked[:size]))


def _score(base: bytes, epoch: int, peer: str) -> bytes:
    return sha256(b"collab-node/committee/1\0" + encode([base, epoch, peer]))
