"""A commit and the few before it: what a round has to know about the past."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from .admission import NOBODY, Admitted
from .commit import Commit, root_commit
from .errors import LocalProtocolError
from .event import EventManifest
from .identity import PeerId


class Ancestry:
    """The base of a round and its ancestors, newest first, as far back as stale contributions and certificates reach."""

    def __init__(self, commits: Sequence[Commit], admitted: Admitted = NOBODY) -> None:
        """`commits` is a chain from the base downwards; LocalProtocolError if it is not one.

        `admitted` says who got in by a token up to the base, from the root on.
        """
        for child, parent in pairwise(commits):
            if child.base != parent.digest:
                raise LocalProtocolError("an ancestry is a chain of commits, newest first")
        self.commits = tuple(commits)
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

    def after(self, event: EventManifest, commit: Commit) -> Ancestry:
        """Return the ancestry of a round on `commit`, which is the next one. Raises RemoteProtocolError for a broken envelope."""
        return Ancestry([commit, *self.commits][: self.depth(event)], self.admitted.after(event, commit))

    @property
    def base(self) -> Commit:
        """The commit that the round builds on."""
        return self.commits[0]

    @property
    def parent(self) -> Commit | None:
        """The base's parent, whose roster drew the committee that made the base final; None if the base is the root."""
        return self.commits[1] if len(self.commits) > 1 else None

    def staleness(self, base: bytes) -> int | None:
        """Return how many commits older than the base this one is; None if it is not among the ancestors."""
        return self._staleness.get(base)

    def is_spent(self, peer: PeerId, base: bytes) -> bool:
        """Say whether what `peer` trained on `base` is merged already, or a gate refused it for good."""
        return (peer, base) in self._spent


def root_ancestry(event: EventManifest) -> Ancestry:
    """Return the ancestry of an event's first round."""
    root = root_commit(event)
    return Ancestry([root], NOBODY.after(event, root))
