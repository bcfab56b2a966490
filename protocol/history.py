"""The history of an event: the graph of final commits, and which chain of it is the one to build on.

Only final commits enter. The newest of a chain comes with its certificate, every other is proven by the certificate in its
child. Two final commits on one base are possible only across epochs (see `rounds.voting`); then the one of the lower epoch wins,
with everything built on it, and of equal epochs (more than a third of a committee lied) the one with the smaller digest: a rule
that needs no messages, so nobody is in doubt once he has seen both.

Bodies of old commits can be forgotten; who descends from whom is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .admission import NOBODY, Admitted
from .amendments.chain import Amendments
from .amendments.state import InForce
from .ancestry import Ancestry
from .certificates import verify_certificate
from .commit import Certificate, Commit, root_commit
from .errors import LocalProtocolError, RemoteProtocolError
from .event import EventManifest


class History:
    """What a node knows of an event's final commits. It starts with the root, which follows from the event."""

    def __init__(self, event: EventManifest, amendments: Amendments | None = None) -> None:
        """`event` is as it was created; `amendments` has at least those that its commits name."""
        self.event = event
        self.amendments = amendments or Amendments(event)
        self.root = root_commit(event)
        self._parents: dict[bytes, tuple[bytes | None, int]] = {self.root.digest: (None, 0)}
        self._children: dict[bytes, list[bytes]] = {}
        self._bodies = {self.root.digest: self.root}
        self._certificates: dict[bytes, Certificate] = {}
        self._admitted = {self.root.digest: NOBODY.after(event, self.root)}
        self._versions = {self.root.state: 0}
        self._main = [self.root.digest]

    @property
    def in_force(self) -> InForce:
        """What is in force with the newest amendments that count."""
        return self.amendments.newest(self.head.amendment)

    @property
    def head(self) -> Commit:
        """The newest commit of the chain to build on."""
        return self._bodies[self._main[-1]]

    @property
    def admitted(self) -> Admitted:
        """Who got in by which token, up to the head."""
        return self._admitted[self._main[-1]]

    def __contains__(self, digest: object) -> bool:
        return digest in self._parents

    def __len__(self) -> int:
        return len(self._parents)

    def add(self, commit: Commit, certificate: Certificate) -> bool:
        """Take in a final commit whose parent is known, and say whether the head changed. Raises RemoteProtocolError."""
        return self.extend([commit], certificate)

    def extend(self, commits: Sequence[Commit], certificate: Certificate) -> bool:
        """Take in a chain, oldest first, on a commit that is known; `certificate` is the newest one's.

        All of it is checked before any of it is kept. Returns whether the head changed. Raises RemoteProtocolError:
        "unknown_parent", "wrong_event", "wrong_round", "unknown_amendment", "bad_certificate", or what opening an
        attestation raises.
        """
        head = self._main[-1]
        proofs = [child.parent_certificate for child in commits[1:]] + [certificate]
        below: Commit | None = None
        admitted: list[Admitted] = []
        for commit, proof in zip(commits, proofs, strict=True):
            parent = self._check(commit, proof, below)
            before = admitted[-1] if admitted else self._admitted[parent.digest]
            admitted.append(before.after(self.amendments.event(parent, commit.amendment), commit))
            below = commit
        for commit, proof, inside in zip(commits, proofs, admitted, strict=True):
            assert proof is not None
            self._keep(commit, proof, inside)
        return self._main[-1] != head

    def _check(self, commit: Commit, proof: Certificate | None, below: Commit | None) -> Commit:
        """Return the commit's parent: `below`, or else the one that is known. Raises RemoteProtocolError."""
        parent = below or (self.get(commit.parents[0]) if commit.parents else None)
        if commit.event != self.event.digest:
            raise RemoteProtocolError("wrong_event")
        if parent is None or commit.parents != (parent.digest,):
            raise RemoteProtocolError("unknown_parent")
        if commit.round != parent.round + 1:
            raise RemoteProtocolError("wrong_round")
        if proof is None or proof.commit != commit.digest:
            raise RemoteProtocolError("bad_certificate", "for another commit")
        if self._certificates.get(commit.digest) != proof:
            verify_certificate(self.amendments.event_on(parent), parent, proof)
        return parent

    def _keep(self, commit: Commit, certificate: Certificate, admitted: Admitted) -> None:
        digest, parent = commit.digest, commit.base
        known = self._certificates.get(digest)
        better = known is not None and certificate.epoch < known.epoch
        if known is None or better:
            self._certificates[digest] = certificate
        if digest not in self._parents:
            self._parents[digest] = (parent, commit.round)
            self._children.setdefault(parent, []).append(digest)
            self._bodies[digest] = commit
            self._admitted[digest] = admitted
            self._versions[commit.state] = max(commit.round, self._versions.get(commit.state, 0))
        elif not better:
            return
        if self._main[-1] == parent:
            self._main.append(digest)
        elif len(self._children[parent]) > 1 or not self.is_main(parent):
            self._choose(parent)

    def _choose(self, digest: bytes) -> None:
        while not self.is_main(digest):
            above = self._parents[digest][0]
            assert above is not None
            digest = above
        del self._main[self._parents[digest][1] + 1 :]
        while children := self._children.get(digest):
            digest = min(children, key=lambda child: (self._certificates[child].epoch, child))
            self._main.append(digest)

    def get(self, digest: bytes) -> Commit | None:
        """Return a commit, or None if it is unknown."""
        return self._bodies.get(digest)

    def certificate(self, digest: bytes) -> Certificate | None:
        """Return what makes a commit final (of several certificates, one of the lowest epoch); None for the root."""
        return self._certificates.get(digest)

    def is_main(self, digest: bytes) -> bool:
        """Say whether a commit is on the chain to build on."""
        round = self._parents[digest][1] if digest in self._parents else len(self._main)
        return round < len(self._main) and self._main[round] == digest

    def at_round(self, round: int) -> bytes | None:
        """Return the digest of the main chain's commit of this round."""
        return self._main[round] if 0 <= round < len(self._main) else None

    def round_with(self, state: bytes) -> int | None:
        """Return the newest round after which the weights have this state hash, on any chain; None if none has."""
        return self._versions.get(state)

    def is_ancestor(self, older: bytes, newer: bytes) -> bool:
        """Say whether `newer` is `older` or descends from it."""
        if older not in self._parents or newer not in self._parents:
            return False
        if self.is_main(newer):
            return self.is_main(older) and self._parents[older][1] <= self._parents[newer][1]
        at: bytes | None = newer
        while at is not None and at != older:
            at = self._parents[at][0]
        return at == older

    def path(self, start: bytes, end: bytes) -> list[bytes]:
        """Return the digests after `start` up to `end`, oldest first; LocalProtocolError unless `start` is an ancestor."""
        if not self.is_ancestor(start, end):
            raise LocalProtocolError("not an ancestor")
        digests = []
        while end != start:
            digests.append(end)
            parent = self._parents[end][0]
            assert parent is not None
            end = parent
        return digests[::-1]

    def chain(self, start: bytes, end: bytes) -> list[Commit]:
        """Return the commits after `start` up to and with `end`; LocalProtocolError unless `start` is an ancestor."""
        return [self._bodies[digest] for digest in self.path(start, end)]

    def ancestry(self, base: bytes) -> Ancestry:
        """Return `base` and as many commits before it as a round on it needs; LocalProtocolError if it is unknown."""
        commits: list[Commit] = []
        at: bytes | None = base
        while at is not None and len(commits) < Ancestry.depth(self.event):
            if at not in self._bodies:
                raise LocalProtocolError("a commit that a round needs is unknown")
            commits.append(self._bodies[at])
            at = self._parents[at][0]
        return Ancestry(commits, self.amendments, self._admitted[base])

    def locator(self) -> list[bytes]:
        """Return digests of the main chain, dense at the head, sparse towards the root: to find where two histories part."""
        rounds, step, at = [], 1, len(self._main) - 1
        while at > 0:
            rounds.append(at)
            step *= 2 if len(rounds) >= 8 else 1
            at -= step
        return [self._main[round] for round in rounds] + [self._main[0]]

    def newest_common(self, locator: Iterable[bytes]) -> bytes:
        """Return the first digest of a peer's locator that is on our main chain; the root if none is."""
        return next((digest for digest in locator if self.is_main(digest)), self._main[0])
