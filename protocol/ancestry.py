"""A commit and the few before it: what a round has to know about the past."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise

from .admission import NOBODY, Admitted
from .amendments.chain import Amendments
from .commit import Commit, root_commit
from .errors import LocalProtocolError, RemoteProtocolError
from .event import EventManifest
from .identity import PeerId


class Ancestry:
    """The base of a round and its ancestors, newest first, as far back as stale contributions and certificates reach."""

    def __init__(
        self, commits: Sequence[Commit], amendments: Amendments | None = None, admitted: Admitted = NOBODY
    ) -> None:
        """`commits` is a chain from the base downwards; LocalProtocolError if it is not one.

        `amendments` has those that the commits name; None where there are none. `admitted` says who got in by a token up to the
        base, from the root on.
        """
        for child, parent in pairwise(commits):
            if child.base != parent.digest:
                raise LocalProtocolError("an ancestry is a chain of commits, newest first")
        self.commits = tuple(commits)
        self.amendments = amendments
        self.admitted = admitted
        self._staleness = {commit.digest: age for age, commit in enumerate(commits)}
        self._spent = {
            (signed.signer, contribution.base)
            for commit in commits
            for signed, contribution in (*commit.contributions(), *commit.failed_gates())
        }

    @staticmethod
    def depth(event: EventManifest) -> int:
        """Return how many commits a round of this event needs to know (fewer near the root)."""
        return max(2, event.rounds.max_staleness + 1)

    def after(self, created: EventManifest, commit: Commit) -> Ancestry:
        """Return the ancestry of a round on `commit`, which is the next one and valid. Raises RemoteProtocolError."""
        admitted = self.admitted.after(self.event(created, commit.amendment), commit)
        return Ancestry([commit, *self.commits][: self.depth(created)], self.amendments, admitted)

    @property
    def base(self) -> Commit:
        """The commit that the round builds on."""
        return self.commits[0]

    @property
    def parent(self) -> Commit | None:
        """The base's parent, whose roster drew the committee that made the base final; None if the base is the root."""
        return self.commits[1] if len(self.commits) > 1 else None

    @cached_property
    def members(self) -> frozenset[PeerId]:
        """The peers on the base's roster."""
        return frozenset(member.peer for member in self.base.roster)

    def staleness(self, base: bytes) -> int | None:
        """Return how many commits older than the base this one is; None if it is not among the ancestors."""
        return self._staleness.get(base)

    def is_spent(self, peer: PeerId, base: bytes) -> bool:
        """Say whether what `peer` trained on `base` is merged already, or a gate refused it for good."""
        return (peer, base) in self._spent

    def event(self, created: EventManifest, amendment: bytes | None) -> EventManifest:
        """Return the event in force for a commit on the base that names `amendment`. Raises RemoteProtocolError."""
        if self.amendments is not None:
            return self.amendments.event(self.base, amendment)
        if amendment is not None:
            raise RemoteProtocolError("unknown_amendment", amendment.hex()[:16])
        return created

    def event_on(self, created: EventManifest, base: Commit) -> EventManifest:
        """Return the event as `base`, one of these commits, leaves it: what draws its committee."""
        return created if self.amendments is None else self.amendments.event_on(base)


def root_ancestry(event: EventManifest, amendments: Amendments | None = None) -> Ancestry:
    """Return the ancestry of an event's first round."""
    root = root_commit(event)
    return Ancestry([root], amendments, NOBODY.after(event, root))
