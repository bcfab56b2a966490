"""Drives one round after the other: the round machine decides, this does what it asks for.

Everything that happens (a message, a notice of the worker, the end of a task, a deadline) becomes an input in one queue, and one
task feeds the machine from it, so the machine needs no locks. What takes time runs as a task of the round and ends in an input.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import TypeAlias

import structlog

from ...protocol.carried import Opened
from ...protocol.commit import Certificate, Commit, decode_commit
from ...protocol.errors import LocalProtocolError, RemoteProtocolError
from ...protocol.event import EventManifest
from ...protocol.gates import refusal_of
from ...protocol.history import History
from ...protocol.identity import Identity
from ...protocol.merging import Draft, group_parts, parts
from ...protocol.messages import Blob, Contribution, Signed
from ...protocol.rounds import effects
from ...protocol.rounds.machine import RoundMachine
from ...protocol.rounds.state import VotingState
from ..failpoints import failpoint
from ..gates.gatekeeper import Gatekeeper
from ..metrics.metrics import Metrics
from ..metrics.phase_clock import PhaseClock
from ..net.errors import NetworkError
from ..processes.ipc import ChannelClosed, RemoteFailure
from ..processes.worker_host import WorkerHost
from ..store.store import Store
from ..trainer import messages
from .catch_up import CatchUp
from .contributing import Contributor
from .fetching import Fetcher, Unavailable
from .neighbourhood import Asking, EarlyMessages, UpTo
from .weights import StateMismatch, Weights

log = structlog.get_logger()

Input: TypeAlias = Callable[[RoundMachine, float], list[effects.Effect]]

_INBOX = 8192
_INBOX_BYTES = 31 << 20
_GATE_RETRY_SECONDS = 5.0
_STRANGERS_CHECKED = 8
# Anyone could have written the named signer into such a message.
_NOT_THE_SIGNERS = frozenset({"bad_signature", "unknown_kind"})
_CONTRIBUTE = "contribute"
_CATCH_UP = "catch up from "


@dataclass(frozen=True)
class Overtaken:
    """The head moved while the round ran: somebody proved that it is over."""


@dataclass(frozen=True)
class Interrupted:
    """The round was left, to be taken up again later or not at all."""


@dataclass(frozen=True)
class Finalised:
    """The round made a commit."""

    commit: Commit
    certificate: Certificate


@dataclass
class RoundTools:
    """What a round works with; built once by the daemon."""

    event: EventManifest
    identity: Identity
    history: History
    store: Store
    weights: Weights
    host: WorkerHost
    contributor: Contributor
    fetcher: Fetcher
    catch_up: CatchUp
    metrics: Metrics
    publish: Callable[[Signed], Awaitable[None]]
    require_amendment: Callable[[bytes | None, str], Awaitable[None]]
    on_fault: Callable[[str, str], None]
    payload_limit: Callable[[EventManifest], int]
    waiting_verdicts: Callable[[], Sequence[Opened]] = tuple


class RoundDriver:
    """Runs rounds for the daemon; `deliver` and `notice` may be called at any time."""

    def __init__(self, tools: RoundTools) -> None:
        self.machine: RoundMachine | None = None
        self.training: messages.Progress | None = None
        self.began = 0.0
        self._tools = tools
        self._inbox: asyncio.Queue[Input] = asyncio.Queue()
        self._unread = 0
        self._early = EarlyMessages()
        self._tasks: set[asyncio.Task[None]] = set()
        self._outcome: Finalised | Overtaken | Interrupted | None = None
        self._asking = Asking()
        self._strangers = asyncio.Semaphore(_STRANGERS_CHECKED)
        self._clock = PhaseClock(tools.metrics.phase)
        self.gatekeeper = Gatekeeper(tools.event, tools.weights, tools.host)

    # Inputs from outside

    def deliver(self, signed: Signed) -> None:
        """Take in a gossiped message, whose signature was checked before it was forwarded to us."""
        history, machine = self._tools.history, self.machine
        # The head may have moved while the round on an older base still runs: its messages are for the next one.
        self._early.note(signed, history if machine is None else UpTo(history, machine.setting.base.digest))
        if self._inbox.qsize() >= _INBOX or self._unread > _INBOX_BYTES:
            self._tools.metrics.refused("rate_limited")
            return
        self._unread += len(signed.body)
        self._put(lambda machine, now: self._receive(machine, signed, now))

    def _receive(self, machine: RoundMachine, signed: Signed, now: float) -> list[effects.Effect]:
        self._unread -= len(signed.body)
        return machine.receive(signed, now)

    def notice(self, notice: messages.Notice) -> None:
        """Take in what the worker says of its training."""
        if isinstance(notice, messages.Failed):
            log.error("training stopped", why=notice.text)
        elif isinstance(notice, messages.Progress):
            self.training = notice
            done = isinstance(notice, messages.Trained)
            if not done:
                failpoint("training")
            self._put(lambda machine, now: self._progress(machine, notice, done, now))

    def amended(self) -> None:
        """Let the round follow amendments that came in."""
        if self._runs:
            self._put(lambda machine, now: machine.amended(now))

    def know_verdicts(self) -> None:
        """Let the commit of the round carry verdicts that came in."""
        if self._runs:
            self._put(self._know_verdicts)

    def _know_verdicts(self, machine: RoundMachine, now: float) -> list[effects.Effect]:
        machine.know_verdicts(self._tools.waiting_verdicts())
        return []

    def resume(self) -> None:
        """The worker was restarted: let it train on where its last checkpoint was."""
        if self._runs and self.machine is not None and self.machine.setting.trains:
            self._spawn(self._train(self.machine.setting.base), "train")

    def interrupt(self) -> None:
        """End the round that runs, if one does, as when the daemon is stopped: what was voted and trained is kept."""
        if self._runs:
            self._put(self._interrupt)

    def _interrupt(self, machine: RoundMachine, now: float) -> list[effects.Effect]:
        self._outcome = self._outcome or Interrupted()
        return []

    @property
    def _runs(self) -> bool:
        return self.machine is not None and self._outcome is None

    def _put(self, item: Input) -> None:
        self._inbox.put_nowait(item)  # only what others say is bounded: our own answers must not be lost in a flood

    def _progress(
        self, machine: RoundMachine, notice: messages.Progress, done: bool, now: float
    ) -> list[effects.Effect]:
        if notice.round != machine.setting.base.round:
            return []
        rate = notice.tokens_per_second / self._tools.host.opened.tokens_per_sample
        return machine.progress(notice.samples, notice.steps, notice.loss, rate, now, done=done)

    async def goodbye(self) -> None:
        """Say that we leave."""
        if self.machine is not None:
            await self._perform(self.machine.goodbye(_now()))

    # One round

    async def run(self, base: Commit, *, train: bool) -> Finalised | Overtaken | Interrupted:
        """Run the round on `base` until its commit is final, here or proven by others; `train` in it, or only vote.

        `interrupt` ends it earlier.
        """
        tools = self._tools
        self._outcome, self.training, self.began = None, None, _now()
        self.machine = machine = RoundMachine(
            tools.history,
            base.digest,
            tools.identity,
            trains=train,
            payload_limit=tools.payload_limit(tools.history.amendments.event_on(base)),
            sequence=int(time.time() * 1000),
            state=self._voting_state(base),
        )
        machine.know_verdicts(tools.waiting_verdicts())
        try:
            await self._perform(machine.start(_now()))
            if train and not machine.setting.is_over:
                self._spawn(self._train(base), "train")
            await self._offer_stale(machine)
            for signed in self._early.take(tools.history):
                self.deliver(signed)
            while self._outcome is None:
                self._clock.enter(machine.phase.value, _now())
                await self._perform(await self._next(machine))
            self._clock.enter("final" if isinstance(self._outcome, Finalised) else "catching_up", _now())
            return self._outcome
        finally:
            await self._end_tasks()

    async def _offer_stale(self, machine: RoundMachine) -> None:
        """Announce again what we sent on an older base and no commit took."""
        for claim in self._tools.contributor.outstanding():
            if claim.base != machine.setting.base.digest:
                with suppress(LocalProtocolError):  # the event's rules may not let it in any more
                    await self._perform(machine.contributed(claim, _now()))

    def _voting_state(self, base: Commit) -> VotingState | None:
        saved = self._tools.store.load_voting(base.digest)
        return None if saved is None else VotingState.decode(saved)

    async def _next(self, machine: RoundMachine) -> list[effects.Effect]:
        due = machine.next_deadline()
        try:
            async with asyncio.timeout(None if due is None else max(0.0, due - _now())):
                item = await self._inbox.get()
        except TimeoutError:
            return machine.tick(_now())
        now = _now()
        late = due is not None and due <= now  # in a flood the queue is never empty, and time must pass all the same
        return item(machine, now) + (machine.tick(now) if late else [])

    async def _end_tasks(self) -> None:
        # A contribution that is being made is still wanted, on the next base; and cut short, it would be lost.
        tasks = [task for task in self._tasks if task.get_name() != _CONTRIBUTE]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _spawn(self, work: Coroutine[None, None, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or task.exception() is None:
            return
        error = task.exception()
        assert error is not None

        def fail(machine: RoundMachine, now: float) -> list[effects.Effect]:
            raise error

        self._put(fail)  # a bug in a task is a bug of the daemon, and must not pass unseen

    # Effects

    async def _perform(self, found: list[effects.Effect]) -> None:
        for effect in found:
            await self._do(effect)

    async def _do(self, effect: effects.Effect) -> None:
        tools = self._tools
        match effect:
            case effects.Send(signed):
                failpoint(f"send-{signed.kind}")
                await tools.publish(signed)
            case effects.Persist(state):
                tools.store.save_voting(state.base, state.encode())
            case effects.KeepCommit(commit):
                tools.store.blobs.put_bytes(commit.encode())
            case effects.CloseTraining(reason):
                self._spawn(self._contribute(reason), _CONTRIBUTE)
            case effects.CheckPayload(signed, contribution):
                self._spawn(self._check(signed, contribution), "check")
            case effects.BuildCommit(draft):
                self._spawn(self._build(draft), "build")
            case effects.FetchCommit(blob, sources):
                self._spawn(self._fetch(blob, sources), "fetch")
            case effects.ReplayCommit(commit, patience):
                self._spawn(self._replay(commit, patience), "replay")
            case effects.CheckRefusals(commit):
                self._spawn(self._check_refusals(commit), "refusals")
            case effects.Finalise(commit, certificate):
                self._outcome = Finalised(commit, certificate)
            case effects.Behind(peer):
                self._ask(peer)
            case effects.Refused(peer, reason, detail):
                log.debug("refused", peer=peer[-8:], reason=reason, detail=detail)
                tools.metrics.refused(reason)
                if reason not in _NOT_THE_SIGNERS:
                    tools.on_fault(peer, reason)
            case effects.Ahead(_):
                pass  # our next progress tells the peer that there is something newer, and it asks

    async def _train(self, base: Commit) -> None:
        tools = self._tools
        peers, event = max(1, len(base.accepted)), tools.history.amendments.event_on(base)
        try:
            await tools.host.use(
                lambda worker: worker.train(base.round, base.samples, peers=peers, max_steps=event.inner.steps)
            )
        except (RemoteFailure, ChannelClosed) as error:
            log.error("cannot train", why=str(error))

    async def _contribute(self, reason: str) -> None:
        machine = self.machine
        assert machine is not None
        log.debug("training closed", reason=reason)
        if machine.setting.trains:
            claim = await self._tools.contributor.contribute(machine.setting.base)
            if claim is not None:
                self._put(lambda current, now: self._announce(current, claim, now))

    def _announce(self, machine: RoundMachine, claim: Contribution, now: float) -> list[effects.Effect]:
        try:
            return machine.contributed(claim, now)
        except LocalProtocolError as error:
            # Rounds went by while it was made. It is settled as refused, and goes into the next one.
            log.info("a contribution came too late", round=claim.round, why=str(error))
            return []

    async def _check(self, signed: Signed, contribution: Contribution) -> None:
        assert self.machine is not None
        known = signed.signer in self.machine.setting.ancestry.members
        async with nullcontext() if known else self._strangers:  # whoever makes keys makes claims of what nobody can fetch
            verdict = await self._inspect(signed, contribution)
        self._put(lambda machine, now: machine.checked(signed.digest, verdict, now))

    async def _inspect(self, signed: Signed, claim: Contribution) -> float | str:
        """Return the payload's norm, or the reason why it is refused."""
        tools, sources = self._tools, (signed.signer,)
        assert self.machine is not None
        full = self.machine.setting.drawn_by.is_full_merge(claim.round + 1)
        try:
            path = str(await tools.fetcher.fetch(claim.payload, sources))
            fisher = str(await tools.fetcher.fetch(claim.fisher, sources)) if claim.fisher is not None else None
            found = await tools.host.use(lambda worker: worker.inspect(path, fisher, full=full))
        except (Unavailable, ChannelClosed, RemoteFailure) as error:
            log.debug("a payload cannot be had", peer=signed.signer[-8:], why=str(error))
            return "unavailable"
        tools.store.add_contribution(signed, claim)
        return found.norm if found.ok else found.reason

    async def _build(self, draft: Draft) -> None:
        assert self.machine is not None
        try:
            async with self.gatekeeper.turn(draft.parts):
                state = await self._merged(draft.commit, draft)
                failure = await self.gatekeeper.find_failure(draft, self.machine.setting.ancestry) if state else None
        except (Unavailable, RemoteFailure, ChannelClosed) as error:
            log.error("the gates cannot be run", why=str(error))
            await asyncio.sleep(_GATE_RETRY_SECONDS)  # the machine asks again at once
            state = failure = None
        if failure is not None:
            reason, at_fault = refusal_of(failure.gate), failure.at_fault
            self._put(lambda machine, now: machine.failed_gate(draft.key, at_fault, reason, now))
        else:
            self._put(lambda machine, now: machine.built(draft.key, state, int(time.time()), now))

    async def _merged(self, commit: Commit, draft: Draft) -> bytes | None:
        started = _now()
        base = self._tools.store.commit(commit.base)
        try:
            merged = await self._tools.weights.merge(base.state, draft.parts, commit.round_method, commit.full)
        except (Unavailable, RemoteFailure, ChannelClosed) as error:
            log.warning("the merge failed", why=str(error))
            return None
        self._tools.metrics.merge_seconds.observe(_now() - started)
        return merged.state

    async def _fetch(self, blob: Blob, sources: tuple[str, ...]) -> None:
        try:
            path = await self._tools.fetcher.fetch(blob, sources)
            commit = decode_commit(path.read_bytes())
            if commit.amendment not in self._tools.history.amendments:
                await self._tools.require_amendment(commit.amendment, sources[0])
        except (Unavailable, NetworkError, RemoteProtocolError) as error:
            log.debug("a proposed commit cannot be had", why=str(error))
            self._put(lambda machine, now: machine.commit_missing(blob.sha256, now))
            return
        self._put(lambda machine, now: machine.commit_fetched(commit, now))

    async def _replay(self, commit: Commit, patience: int) -> None:
        assert self.machine is not None
        problem: str | None = None
        try:
            async with self.gatekeeper.turn(parts(commit)):
                await self._tools.weights.replay(commit)
                failed = await self.gatekeeper.failed_gate(commit, self.machine.setting.ancestry, patience)
            problem = refusal_of(failed) if failed is not None else None
        except StateMismatch as error:
            log.warning("a proposed commit does not replay", why=str(error))
            problem = "state_mismatch"
        except (Unavailable, RemoteFailure, ChannelClosed) as error:
            log.warning("a proposed commit cannot be replayed", why=str(error))
            problem = "unavailable"
        self._put(lambda machine, now: machine.replayed(commit.digest, problem, now))

    async def _check_refusals(self, commit: Commit) -> None:
        assert self.machine is not None
        upheld: frozenset[bytes] = frozenset()
        try:
            accused = group_parts(self.machine.setting.drawn_by, self.machine.setting.ancestry, commit.failed_gates())
            async with self.gatekeeper.turn(accused):
                upheld = await self.gatekeeper.upheld(commit, self.machine.setting.ancestry)
        except (Unavailable, RemoteFailure, ChannelClosed) as error:
            log.warning("refusals for a gate cannot be checked", why=str(error))
        self._put(lambda machine, now: machine.refusals_checked(commit.digest, upheld, now))

    # Being behind

    def _ask(self, peer: str) -> None:
        """Ask a peer that speaks of an unknown commit for its history, but not again and again, nor everybody at once."""
        name, running = _CATCH_UP + peer, {task.get_name() for task in self._tasks if task.get_name().startswith(_CATCH_UP)}
        if name not in running and self._asking.may_ask(peer, len(running), _now()):
            self._spawn(self._catch_up(peer), name)

    async def _catch_up(self, peer: str) -> None:
        try:
            await self._tools.catch_up.ask(peer)
        except (NetworkError, Unavailable) as error:
            log.debug("no history", peer=peer[-8:], why=str(error))
        except RemoteProtocolError as error:
            self._tools.metrics.refused(error.reason)
            self._tools.on_fault(peer, error.reason)
        self._put(self._compare)  # what was proven before it failed counts

    def _compare(self, machine: RoundMachine, now: float) -> list[effects.Effect]:
        """Say that the round is over if the head is not its base any more."""
        if self._tools.history.head.digest != machine.setting.base.digest:
            self._outcome = self._outcome or Overtaken()
        return []


def _now() -> float:
    return time.monotonic()


__all__ = ["Finalised", "Interrupted", "Overtaken", "RoundDriver", "RoundTools"]
