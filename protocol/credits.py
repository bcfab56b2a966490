"""Credit: who gave what to an event, computed from its commits and from nothing else, so that every node finds the same.

What counts stands in final commits, signed by whom it is of: contributions that were merged, contributions that were refused, and
precommits, each of which says that its signer replayed a merge. A proposer cannot add to it: what it writes into a commit without
the signature of the peer concerned is not counted, and a refused contribution that is shown again and again counts once.
"""

from __future__ import annotations

from collections.abc import Iterable

from .commit import Commit, open_attestation, open_contribution
from .errors import RemoteProtocolError
from .identity import PeerId
from .messages import Blob, Contribution, Round
from .record import Count, Record


class Credit(Record):
    """What one peer gave: `samples` and `bytes` are of merged contributions, `first` and `last` the rounds of its work.

    `rounds` had a contribution of the peer merged, `checked` is how many merges it replayed and attested.
    """

    peer: PeerId
    samples: Count = 0
    contributions: Count = 0
    refused: Count = 0
    bytes: Count = 0
    rounds: Count = 0
    checked: Count = 0
    first: Round = 0
    last: Round = 0


class CreditBook:
    """The credit of all peers after a chain of commits. Commits are added in their order, each once, from the root's child on."""

    def __init__(self, commits: Iterable[Commit] = ()) -> None:
        self.round = 0
        self._entries: dict[PeerId, dict[str, int]] = {}
        self._refused: set[bytes] = set()
        for commit in commits:
            self.add(commit)

    def add(self, commit: Commit) -> None:
        """Count what stands in a final commit."""
        self.round = commit.round
        for signer, samples, size in _merged(commit):
            self._count(signer, commit.round, samples=samples, contributions=1, bytes=size)
        for signer in sorted({signer for signer, _, _ in _merged(commit)}):
            self._count(signer, commit.round, rounds=1)
        for rejected in commit.rejected:
            self._refuse(rejected.envelope, commit)
        for signer in _attesters(commit):
            self._count(signer, commit.round - 1, checked=1)

    def _refuse(self, envelope: bytes, commit: Commit) -> None:
        try:
            signed, claim = open_contribution(envelope)
        except RemoteProtocolError:
            return  # not said by the peer that is named
        if claim.event == commit.event and signed.digest not in self._refused:
            self._refused.add(signed.digest)
            self._count(signed.signer, commit.round, refused=1)

    def _count(self, peer: PeerId, round: int, **amounts: int) -> None:
        entry = self._entries.setdefault(peer, {"first": round})
        entry["last"] = round
        for name, amount in amounts.items():
            entry[name] = entry.get(name, 0) + amount

    def of(self, peer: PeerId) -> Credit:
        """Return a peer's credit; all zero for who gave nothing."""
        return Credit(peer=peer, **self._entries.get(peer, {}))

    def ranking(self) -> tuple[Credit, ...]:
        """Return everybody's credit: by samples, then merges checked, then peer id."""
        credits = [self.of(peer) for peer in self._entries]
        return tuple(sorted(credits, key=lambda credit: (-credit.samples, -credit.checked, credit.peer)))

    def rank(self, peer: PeerId) -> int | None:
        """Return the peer's place in the ranking, from 1; None for who gave nothing."""
        return next((place for place, credit in enumerate(self.ranking(), 1) if credit.peer == peer), None)


def credits(commits: Iterable[Commit]) -> tuple[Credit, ...]:
    """Return everybody's credit after these commits (a chain from the root's child on), the greatest first."""
    return CreditBook(commits).ranking()


def _merged(commit: Commit) -> list[tuple[PeerId, int, int]]:
    return [(signed.signer, claim.samples, _bytes(claim)) for signed, claim in commit.contributions()]


def _bytes(claim: Contribution) -> int:
    blobs: list[Blob] = [blob for blob in (claim.payload, claim.fisher) if blob is not None]
    return sum(blob.size for blob in blobs)


def _attesters(commit: Commit) -> list[PeerId]:
    """Return who attested the commit's parent, as the certificate inside it proves."""
    proof = commit.parent_certificate
    return [] if proof is None else [open_attestation(envelope)[0].signer for envelope in proof.precommits]
