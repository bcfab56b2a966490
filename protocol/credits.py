"""Credit: who gave what to an event, computed from its commits and from nothing else, so that every node finds the same.

What counts stands in final commits, signed by whom it is of: contributions that were merged, contributions that were refused,
precommits, each of which says that its signer replayed a merge, and runs of gates (`gate_runs`). A proposer cannot add to it:
what it writes into a commit without the signature of the peer concerned is not counted, and a refused contribution that is shown
again and again counts once. Bytes served are signed by who received them, in merged contributions, and bounded (`receipts`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .commit import Commit, open_attestation, open_contribution
from .errors import RemoteProtocolError
from .event import EventManifest
from .gate_runs import GateRuns
from .identity import PeerId
from .messages import Round
from .receipts import Receipts, payload_bytes
from .record import Count, Record, later


class Credit(Record):
    """What one peer gave: `samples` and `bytes` are of merged contributions, `first` and `last` the rounds of its work.

    `rounds` had a contribution of the peer merged, `checked` is how many merges it replayed and attested. `gates` are runs of
    gates; `served` is how many bytes of payloads, commits and snapshots contributors say that they got from it. Neither of the
    last two is mentioned in the bytes while it is zero.
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
    gates: Count = later(0)
    served: Count = later(0)

    @property
    def gave(self) -> bool:
        """Whether the peer gave anything; a refused contribution is nothing."""
        return bool(self.contributions or self.checked or self.gates or self.served)

    def row(self) -> dict[str, Any]:
        """Return all fields, those too that the bytes do not mention."""
        return {name: getattr(self, name) for name in type(self).model_fields}


class CreditBook:
    """The credit of all peers after a chain of commits. They are added in their order, each once; the root gives nobody any."""

    def __init__(self, event: EventManifest, commits: Iterable[Commit] = ()) -> None:
        """`event` is as it was created: no amendment changes its gates."""
        self.round = 0
        self._gate_runs = GateRuns(event)
        self._receipts = Receipts()
        self._entries: dict[PeerId, dict[str, int]] = {}
        self._refused: set[bytes] = set()
        for commit in commits:
            self.add(commit)

    def add(self, commit: Commit) -> None:
        """Count what stands in a final commit."""
        self.round = commit.round
        if not commit.parents:
            return
        for peer, size in self._receipts.take(commit).items():
            self._count(peer, commit.round, served=size)
        for signer, samples, size in _merged(commit):
            self._count(signer, commit.round, samples=samples, contributions=1, bytes=size)
        for signer in sorted({signer for signer, _, _ in _merged(commit)}):
            self._count(signer, commit.round, rounds=1)
        for rejected in commit.rejected:
            self._refuse(rejected.envelope, commit)
        attesters = _attesters(commit)
        for signer in attesters:
            self._count(signer, commit.round - 1, checked=1)
        for signer, runs in self._gate_runs.take(commit, attesters).items():
            self._count(signer, commit.round - 1, gates=runs)

    def _refuse(self, envelope: bytes, commit: Commit) -> None:
        try:
            signed, claim = open_contribution(envelope)
        except RemoteProtocolError:
            return  # not said by the peer that is named
        if claim.event == commit.event and signed.digest not in self._refused:
            self._refused.add(signed.digest)
            self._count(signed.signer, commit.round, refused=1)

    def _count(self, peer: PeerId, round: int, **amounts: int) -> None:
        entry = self._entries.setdefault(peer, {"first": round, "last": round})
        entry["first"], entry["last"] = min(round, entry["first"]), max(round, entry["last"])
        for name, amount in amounts.items():
            entry[name] = entry.get(name, 0) + amount

    def of(self, peer: PeerId) -> Credit:
        """Return a peer's credit; all zero for who gave nothing."""
        return Credit(peer=peer, **self._entries.get(peer, {}))

    def ranking(self) -> tuple[Credit, ...]:
        """Return everybody's credit: by samples, then merges checked, gates run, bytes served, peer id."""
        credits = [self.of(peer) for peer in self._entries]
        return tuple(sorted(credits, key=_place))

    def rank(self, peer: PeerId) -> int | None:
        """Return the peer's place in the ranking, from 1; None for who gave nothing."""
        return next((place for place, credit in enumerate(self.ranking(), 1) if credit.peer == peer), None)


def credits(event: EventManifest, commits: Iterable[Commit]) -> tuple[Credit, ...]:
    """Return everybody's credit after these commits (a chain from the root or its child on), the greatest first."""
    return CreditBook(event, commits).ranking()


def _place(credit: Credit) -> tuple[int, int, int, int, PeerId]:
    return -credit.samples, -credit.checked, -credit.gates, -credit.served, credit.peer


def _merged(commit: Commit) -> list[tuple[PeerId, int, int]]:
    return [(signed.signer, claim.samples, payload_bytes(claim)) for signed, claim in commit.contributions()]


def _attesters(commit: Commit) -> list[PeerId]:
    """Return who attested the commit's parent, as the certificate inside it proves."""
    proof = commit.parent_certificate
    return [] if proof is None else [open_attestation(envelope)[0].signer for envelope in proof.precommits]
