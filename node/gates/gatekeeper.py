"""Gates inside rounds: the committee runs them on a candidate before it votes, and finds the contributions at fault.

A *group* of contributions is at fault for a gate if the base with that group alone merged into it fails the gate. The candidate
is the group of all. If it fails, it is split: of a failing group each half that fails is split again (group testing, Dorfman
1943), down to single contributions that fail on their own. If the halves hide whom the whole shows, each contribution is tried
alone; and if none fails alone, all are at fault together. So for a gate that failed a commit leaves out contributions that fail
*alone*, and perhaps a rest that fails *together*: which another member can check without knowing how the proposer searched.

Who proposes is strict (a candidate passes only if its measurement says so), who checks gives the benefit of the doubt: it objects
to a candidate that clearly fails, and to a refusal of what clearly passes. So the last digits, in which two machines may differ,
seldom decide; where they do, members become more patient (`protocol/rounds/review.py`). A member who cannot run a gate votes for
no new candidate, and follows the others.

Costs: a merge and a gate for each group, about 2·k·log₂ n of them for k at fault among n, and one for each refusal in a check.
Limits: a contribution that does harm only among others is found by what it does alone, or not at all while the candidate passes;
and `rounds.view` must be long enough for it all, though views grow longer while none succeeds.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from ...protocol.ancestry import Ancestry
from ...protocol.commit import Commit, open_contribution
from ...protocol.event import EventManifest
from ...protocol.gates import EventGate, gate_of, relaxed
from ...protocol.merging import Draft, Part, group_parts, method_of, parts
from ...protocol.messages import Contribution, Signed
from ...protocol.verdict import Measurement
from ..processes.ipc import RemoteFailure
from ..processes.worker_host import WorkerHost
from ..rounds.weights import Weights, candidate_key
from ..trainer.messages import VersionRef
from .run import Result, request_for, result_of, seed_of

log = structlog.get_logger()

Claim = tuple[Signed, Contribution]


@dataclass(frozen=True)
class Failure:
    """A gate that a candidate failed, and the digests of the envelopes at fault."""

    gate: str
    at_fault: frozenset[bytes]


class Gatekeeper:
    """Runs an event's round gates."""

    def __init__(self, event: EventManifest, weights: Weights, host: WorkerHost) -> None:
        self._lock = asyncio.Lock()
        self._event = event
        self._weights = weights
        self._host = host
        self._gates = {gate.name: gate for gate in event.round_gates()}
        self._shown: dict[bytes, dict[str, Result]] = {}

    @asynccontextmanager
    async def turn(self, merged: Sequence[Part]) -> AsyncIterator[None]:
        """Hold the worker for merges and gates: two searches at once would evict each other's candidates.

        First fetches what is to be merged, so that nobody waits meanwhile. An event without gates needs no turns. Raises
        Unavailable.
        """
        if not self._gates:
            yield
            return
        await self._weights.fetch(merged)
        async with self._lock:
            yield

    async def find_failure(self, draft: Draft, ancestry: Ancestry) -> Failure | None:
        """Run the gates on a draft's candidate; None if it passes. Raises Unavailable, RemoteFailure, ChannelClosed."""
        merged = draft.parts
        for gate in self._gates.values() if merged else ():
            measured = await self._measure(gate, merged, ancestry)
            if not measured.passed:
                log.warning("a candidate failed a gate", round=draft.commit.round, gate=gate.name, why=measured.sentence())
                claims = [(part.signed, part.contribution) for part in merged]
                found = await self._at_fault(gate, claims, ancestry)
                return Failure(gate.name, frozenset(signed.digest for signed, _ in found))
        return None

    async def failed_gate(self, commit: Commit, ancestry: Ancestry, patience: int = 0) -> str | None:
        """Return the gate that a commit's candidate clearly fails, or that cannot be run here; None if there is none.

        `patience`: see `gates.relaxed`. Raises Unavailable, ChannelClosed.
        """
        for gate in self._gates.values() if commit.accepted else ():
            try:
                measured = await self._measure(relaxed(gate, patience), parts(commit), ancestry)
            except RemoteFailure as error:
                log.error("a gate cannot be run", gate=gate.name, why=error.text)
                return gate.name
            if not measured.passed and measured.reason != "unclear":
                log.warning("a proposed candidate fails a gate", round=commit.round, gate=gate.name, why=measured.sentence())
                return gate.name
        return None

    async def test(self, commit: Commit, ancestry: Ancestry) -> list[Measurement]:
        """Run the gates on a final commit, for who did not while it was a candidate. Raises as `find_failure` does."""
        merged = parts(commit)
        async with self.turn(merged):
            return [await self._measure(gate, merged, ancestry) for gate in self._gates.values() if merged]

    def has_shown(self, state: bytes) -> bool:
        """Say whether a gate was run on the candidate with this state hash."""
        return state in self._shown

    def take_shown(self, state: bytes) -> list[Result]:
        """Return what the gates showed of the candidate with this state hash, and forget all that was measured so far."""
        shown = self._shown.pop(state, {})
        self._shown.clear()
        return list(shown.values())

    async def upheld(self, commit: Commit, ancestry: Ancestry) -> frozenset[bytes]:
        """Return the digests of the refusals for gates that are right. Raises as `find_failure` does."""
        refused: defaultdict[str, list[Claim]] = defaultdict(list)
        for rejected in commit.rejected:
            name = gate_of(rejected.reason)
            if name is not None:
                refused[name].append(open_contribution(rejected.envelope))
        right: set[bytes] = set()
        for name, claims in refused.items():
            right |= await self._right(self._gates[name], claims, ancestry)
        return frozenset(right)

    async def _right(self, gate: EventGate, claims: Sequence[Claim], ancestry: Ancestry) -> set[bytes]:
        alone = {claim[0].digest for claim in claims if not await self._is_fine(gate, [claim], ancestry)}
        rest = [claim for claim in claims if claim[0].digest not in alone]
        together = rest and not await self._is_fine(gate, rest, ancestry)
        return alone | ({signed.digest for signed, _ in rest} if together else set())

    async def _at_fault(self, gate: EventGate, group: Sequence[Claim], ancestry: Ancestry) -> Collection[Claim]:
        """Return who is at fault in a group that fails; see the module."""
        found = await self._split(gate, group, ancestry)
        if not found:
            found = [claim for claim in group if await self._fails(gate, [claim], ancestry)]
        return found or group

    async def _split(self, gate: EventGate, group: Sequence[Claim], ancestry: Ancestry) -> list[Claim]:
        if len(group) == 1:
            return list(group)
        middle = len(group) // 2
        found: list[Claim] = []
        for half in (group[:middle], group[middle:]):
            if await self._fails(gate, half, ancestry):
                found += await self._split(gate, half, ancestry)
        return found

    async def _fails(self, gate: EventGate, group: Sequence[Claim], ancestry: Ancestry) -> bool:
        return not (await self._measure(gate, group_parts(self._rules(ancestry), ancestry, group), ancestry)).passed

    async def _is_fine(self, gate: EventGate, group: Sequence[Claim], ancestry: Ancestry) -> bool:
        measured = await self._measure(gate, group_parts(self._rules(ancestry), ancestry, group), ancestry)
        return measured.reason == "no_worse"

    def _rules(self, ancestry: Ancestry) -> EventManifest:
        return ancestry.event_on(self._event, ancestry.base)

    async def _measure(self, gate: EventGate, merged: Sequence[Part], ancestry: Ancestry) -> Measurement:
        base, event = ancestry.base, self._rules(ancestry)
        method, full = method_of(event, base.round + 1), event.is_full_merge(base.round + 1)
        candidate = await self._weights.merge(base.state, merged, method, full)
        version = VersionRef(of="candidate", key=candidate_key(base.state, merged, method, full))
        request = request_for(gate, version, seed_of(base.state, candidate.state))
        try:
            answer = await self._host.use(lambda worker: worker.gate(request))
        except RemoteFailure as error:
            if error.code != "unknown_candidate":
                raise
            await self._weights.merge(base.state, merged, method, full)  # the worker died and came back without it
            answer = await self._host.use(lambda worker: worker.gate(request))
        result = result_of(answer)
        self._shown.setdefault(candidate.state, {})[gate.name] = result
        return result.measurement
