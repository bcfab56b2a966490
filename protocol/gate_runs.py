"""Gates run: a *run* is one gate of the event, measured by one peer, on one version against the version before it.

Two things in a commit show runs. A precommit under a merge of a round: its signer is a member of the committee, and members run
the round's gates before they vote. And a signed verdict (`verdict.Verdict`), wherever it stands in `Commit.verdicts`. One run
counts once, however often and by whatever it is shown; gates that the event does not have, and versions that are none of the
chain's last commits, count for nothing. So a peer has at most as many runs as there are commits times gates.

Limits: neither proves that its signer did the work. A member may precommit because it saw more than 2/3 prevote, and a verdict is
its signer's word: that another peer can measure the same, and contradict it in public, is what keeps it honest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from .commit import Commit, root_commit
from .errors import RemoteProtocolError
from .event import EventManifest
from .identity import PeerId
from .messages import Signed
from .verdict import open_verdict

VERDICT_ROUNDS = 64
"""A verdict counts in the commit of its version, and in so many after it."""


@dataclass
class _Version:
    """A commit's state hash, that of its base, whether it merged contributions, and who ran which gates on it."""

    state: bytes
    against: bytes | None
    merged: bool
    runs: set[tuple[PeerId, str]] = field(default_factory=set)


class GateRuns:
    """Follows a chain of commits of an event; the newest versions and their runs are remembered."""

    def __init__(self, event: EventManifest) -> None:
        root = root_commit(event)
        self._event = event.digest
        self._gates = frozenset(gate.name for gate in event.gate)
        self._in_rounds = tuple(gate.name for gate in event.round_gates())
        self._versions = {root.digest: _Version(root.state, None, merged=False)}

    def take(self, commit: Commit, attesters: Iterable[PeerId]) -> dict[PeerId, int]:
        """Return who ran how many gates by what this commit shows; `attesters` precommitted its parent."""
        found: Counter[PeerId] = Counter()
        if self._gates:
            base = self._versions.get(commit.base)
            self._remember(commit, base)
            for version, peer, gate in (*self._of_rounds(base, attesters), *self._of_verdicts(commit)):
                if (peer, gate) not in version.runs:
                    version.runs.add((peer, gate))
                    found[peer] += 1
        return dict(found)

    def _remember(self, commit: Commit, base: _Version | None) -> None:
        against = None if base is None else base.state
        self._versions[commit.digest] = _Version(commit.state, against, merged=bool(commit.accepted))
        if len(self._versions) > VERDICT_ROUNDS + 1:
            del self._versions[next(iter(self._versions))]

    def _of_rounds(self, base: _Version | None, attesters: Iterable[PeerId]) -> Iterator[tuple[_Version, PeerId, str]]:
        if base is not None and base.merged:
            yield from ((base, peer, gate) for peer in attesters for gate in self._in_rounds)

    def _of_verdicts(self, commit: Commit) -> Iterator[tuple[_Version, PeerId, str]]:
        for envelope in commit.verdicts:
            try:
                signed = Signed.decode(envelope)
                verdict = open_verdict(signed)
            except RemoteProtocolError:
                continue  # not said by the peer that is named
            states, gate = (verdict.candidate, verdict.against), verdict.measurement.gate
            version = next((each for each in self._versions.values() if (each.state, each.against) == states), None)
            if verdict.event == self._event and gate in self._gates and version is not None:
                yield version, signed.signer, gate
