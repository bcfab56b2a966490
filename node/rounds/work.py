"""What takes time in a round: each piece of work runs beside the round machine, and ends in an input to it.

What cannot be had or done is an answer too: none of these fails because of what others sent, or because the worker died.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import TypeAlias

import structlog

from ...protocol.commit import Commit, decode_commit
from ...protocol.errors import LocalProtocolError, RemoteProtocolError
from ...protocol.gates import refusal_of
from ...protocol.merging import Draft, group_parts, parts
from ...protocol.messages import Blob, Contribution, Signed
from ...protocol.rounds import effects
from ...protocol.rounds.machine import RoundMachine
from ..gates.gatekeeper import Gatekeeper
from ..net.errors import NetworkError
from ..processes.ipc import ChannelClosed, RemoteFailure
from .fetching import Unavailable
from .tools import RoundTools
from .weights import StateMismatch

log = structlog.get_logger()

Input: TypeAlias = Callable[[RoundMachine, float], list[effects.Effect]]

_GATE_RETRY_SECONDS = 5.0
_STRANGERS_CHECKED = 8


class RoundWork:
    """The work of all rounds of a node. Methods return the input that they end in, those that have none nothing."""

    def __init__(self, tools: RoundTools) -> None:
        self.gatekeeper = Gatekeeper(tools.event, tools.weights, tools.host)
        self._tools = tools
        self._strangers = asyncio.Semaphore(_STRANGERS_CHECKED)

    async def train(self, base: Commit) -> None:
        """Let the worker train on `base`; its notices say how far it is."""
        tools = self._tools
        peers, event = max(1, len(base.accepted)), tools.history.amendments.event_on(base)
        try:
            await tools.host.use(
                lambda worker: worker.train(base.round, base.samples, peers=peers, max_steps=event.inner.steps)
            )
        except (RemoteFailure, ChannelClosed) as error:
            log.error("cannot train", why=str(error))

    async def contribute(self, machine: RoundMachine, reason: str) -> Input | None:
        """Make a contribution of what was trained, if this node trains in the round and there is anything."""
        log.debug("training closed", reason=reason)
        claim = await self._tools.contributor.contribute(machine.setting.base) if machine.setting.trains else None
        return None if claim is None else lambda current, now: _announce(current, claim, now)

    async def check(self, machine: RoundMachine, signed: Signed, contribution: Contribution) -> Input:
        """Fetch and inspect a payload."""
        known = signed.signer in machine.setting.ancestry.members
        async with nullcontext() if known else self._strangers:  # whoever makes keys makes claims of what nobody can fetch
            verdict = await self._inspect(machine, signed, contribution)
        return lambda machine, now: machine.checked(signed.digest, verdict, now)

    async def _inspect(self, machine: RoundMachine, signed: Signed, claim: Contribution) -> float | str:
        """Return the payload's norm, or the reason why it is refused."""
        tools, sources = self._tools, (signed.signer,)
        full = machine.setting.drawn_by.is_full_merge(claim.round + 1)
        try:
            path = str(await tools.fetcher.fetch(claim.payload, sources))
            fisher = str(await tools.fetcher.fetch(claim.fisher, sources)) if claim.fisher is not None else None
            found = await tools.host.use(lambda worker: worker.inspect(path, fisher, full=full))
        except (Unavailable, ChannelClosed, RemoteFailure) as error:
            log.debug("a payload cannot be had", peer=signed.signer[-8:], why=str(error))
            return "unavailable"
        tools.store.add_contribution(signed, claim)
        return found.norm if found.ok else found.reason

    async def build(self, machine: RoundMachine, draft: Draft) -> Input:
        """Merge a draft, and run the gates on it."""
        try:
            async with self.gatekeeper.turn(draft.parts):
                state = await self._merged(draft.commit, draft)
                failure = await self.gatekeeper.find_failure(draft, machine.setting.ancestry) if state else None
        except (Unavailable, RemoteFailure, ChannelClosed) as error:
            log.error("the gates cannot be run", why=str(error))
            await asyncio.sleep(_GATE_RETRY_SECONDS)  # the machine asks again at once
            state = failure = None
        if failure is not None:
            reason, at_fault = refusal_of(failure.gate), failure.at_fault
            return lambda machine, now: machine.failed_gate(draft.key, at_fault, reason, now)
        return lambda machine, now: machine.built(draft.key, state, int(time.time()), now)

    async def _merged(self, commit: Commit, draft: Draft) -> bytes | None:
        started = time.monotonic()
        base = self._tools.store.commit(commit.base)
        try:
            merged = await self._tools.weights.merge(base.state, draft.parts, commit.round_method, commit.full)
        except (Unavailable, RemoteFailure, ChannelClosed) as error:
            log.warning("the merge failed", why=str(error))
            return None
        self._tools.metrics.merge_seconds.observe(time.monotonic() - started)
        return merged.state

    async def fetch(self, blob: Blob, sources: tuple[str, ...]) -> Input:
        """Fetch a proposed commit, and the amendment that it names."""
        try:
            path = await self._tools.fetcher.fetch(blob, sources)
            commit = decode_commit(path.read_bytes())
            if commit.amendment not in self._tools.history.amendments:
                await self._tools.require_amendment(commit.amendment, sources[0])
        except (Unavailable, NetworkError, RemoteProtocolError) as error:
            log.debug("a proposed commit cannot be had", why=str(error))
            return lambda machine, now: machine.commit_missing(blob.sha256, now)
        return lambda machine, now: machine.commit_fetched(commit, now)

    async def replay(self, machine: RoundMachine, commit: Commit, patience: int) -> Input:
        """Replay a proposed commit, and run the gates on it."""
        problem: str | None = None
        try:
            async with self.gatekeeper.turn(parts(commit)):
                await self._tools.weights.replay(commit)
                failed = await self.gatekeeper.failed_gate(commit, machine.setting.ancestry, patience)
            problem = refusal_of(failed) if failed is not None else None
        except StateMismatch as error:
            log.warning("a proposed commit does not replay", why=str(error))
            problem = "state_mismatch"
        except (Unavailable, RemoteFailure, ChannelClosed) as error:
            log.warning("a proposed commit cannot be replayed", why=str(error))
            problem = "unavailable"
        return lambda machine, now: machine.replayed(commit.digest, problem, now)

    async def check_refusals(self, machine: RoundMachine, commit: Commit) -> Input:
        """Measure again what a proposed commit leaves out because of a gate."""
        upheld: frozenset[bytes] = frozenset()
        try:
            accused = group_parts(machine.setting.drawn_by, machine.setting.ancestry, commit.failed_gates())
            async with self.gatekeeper.turn(accused):
                upheld = await self.gatekeeper.upheld(commit, machine.setting.ancestry)
        except (Unavailable, RemoteFailure, ChannelClosed) as error:
            log.warning("refusals for a gate cannot be checked", why=str(error))
        return lambda machine, now: machine.refusals_checked(commit.digest, upheld, now)

    async def catch_up(self, peer: str) -> None:
        """Ask a peer for its history."""
        try:
            await self._tools.catch_up.ask(peer)
        except (NetworkError, Unavailable) as error:
            log.debug("no history", peer=peer[-8:], why=str(error))
        except RemoteProtocolError as error:
            self._tools.metrics.refused(error.reason)
            self._tools.on_fault(peer, error.reason)


def _announce(machine: RoundMachine, claim: Contribution, now: float) -> list[effects.Effect]:
    try:
        return machine.contributed(claim, now)
    except LocalProtocolError as error:
        # Rounds went by while it was made. It is settled as refused, and goes into the next one.
        log.info("a contribution came too late", round=claim.round, why=str(error))
        return []
