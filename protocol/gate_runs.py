"""Gates run: a *run* is one gate of the event, measured by one peer on one version of the chain.

Two things in a commit show runs. A precommit under a merge of a round: its signer is a member of the committee, and members run
the round's gates before they vote. And a signed verdict (`verdict.Verdict`), wherever it stands in `Commit.verdicts`, that
compares a version with another one. One run counts once, however often and by whatever it is shown, and against whatever the
version was measured; gates that the event does not have, and versions that are not on the chain, count for nothing. So a peer has
at most as many runs as there are commits times gates.

Limits: neither proves that its signer did the work. A member may precommit because it saw more than 2/3 prevote, and a verdict is
its signer's word: that another peer can measure the same, and contradict it in public, is what keeps it honest.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator

from .commit import Commit, root_commit
from .errors import RemoteProtocolError
from .event import EventManifest
from .identity import PeerId
from .verdict import read_verdict


class GateRuns:
    """Follows a chain of commits of an event. Of each version it remembers who ran which gates, a bit for each gate."""

    def __init__(self, event: EventManifest) -> None:
        self._event = event.digest
        self._bits = {gate.name: 1 << number for number, gate in enumerate(event.gate)}
        self._in_rounds = sum(self._bits[gate.name] for gate in event.round_gates())
        self._merges: dict[bytes, bytes] = {}
        self._runs: dict[bytes, dict[PeerId, int]] = {root_commit(event).state: {}}

    def take(self, commit: Commit, attesters: Iterable[PeerId]) -> dict[PeerId, int]:
        """Return who ran how many gates by what this commit shows; `attesters` precommitted its parent."""
        found: Counter[PeerId] = Counter()
        if self._bits:
            if commit.accepted:
                self._merges[commit.digest] = commit.state
            self._runs.setdefault(commit.state, {})
            for state, peer, gates in (*self._of_rounds(commit, attesters), *self._of_verdicts(commit)):
                runs = self._runs[state]
                before = runs.get(peer, 0)
                if gates & ~before:
                    found[peer] += (gates & ~before).bit_count()
                    runs[sys.intern(peer)] = before | gates
        return dict(found)

    def _of_rounds(self, commit: Commit, attesters: Iterable[PeerId]) -> Iterator[tuple[bytes, PeerId, int]]:
        merged = self._merges.get(commit.base)
        if merged is not None:
            yield from ((merged, peer, self._in_rounds) for peer in attesters)

    def _of_verdicts(self, commit: Commit) -> Iterator[tuple[bytes, PeerId, int]]:
        for envelope in commit.verdicts:
            try:
                signed, verdict = read_verdict(envelope)
            except RemoteProtocolError:
                continue  # not said by the peer that is named
            gate, known = self._bits.get(verdict.measurement.gate, 0), self._runs.keys()
            compares = verdict.candidate != verdict.against and {verdict.candidate, verdict.against} <= known
            if verdict.event == self._event and gate and compares:
                yield verdict.candidate, signed.signer, gate
