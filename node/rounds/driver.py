"""Drives one round after the other: the round machine decides, this does what it asks for.

Everything that happens (a message, a notice of the worker, the end of a task, a deadline) becomes an input in one queue, and one
task feeds the machine from it, so the machine needs no locks. What takes time runs as a task of the round and ends in an input.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass

import structlog

from ...protocol.commit import Certificate, Commit
from ...protocol.errors import LocalProtocolError
from ...protocol.messages import Signed
from ...protocol.rounds import effects
from ...protocol.rounds.machine import RoundMachine
from ...protocol.rounds.state import VotingState
from ..failpoints import failpoint
from ..metrics.phase_clock import PhaseClock
from ..trainer import messages
from .neighbourhood import Asking, EarlyMessages, UpTo
from .tools import RoundTools
from .work import Input, RoundWork

log = structlog.get_logger()

_INBOX = 8192
_INBOX_BYTES = 31 << 20
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


class RoundDriver:
    """Runs rounds for the daemon; `deliver` and `notice` may be called at any time."""

    def __init__(self, tools: RoundTools) -> None:
        self.machine: RoundMachine | None = None
        self.training: messages.Progress | None = None
        self.began = 0.0
        self._tools = tools
        self.work = RoundWork(tools)
        self._inbox: asyncio.Queue[Input] = asyncio.Queue()
        self._unread = 0
        self._early = EarlyMessages()
        self._tasks: set[asyncio.Task[Input | None]] = set()
        self._outcome: Finalised | Overtaken | Interrupted | None = None
        self._asking = Asking()
        self._clock = PhaseClock(tools.metrics.phase)

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
            self._spawn(self.work.train(self.machine.setting.base), "train")

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
            await self._perform(self.machine, self.machine.goodbye(_now()))

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
            await self._perform(machine, machine.start(_now()))
            if train and not machine.setting.is_over:
                self._spawn(self.work.train(base), "train")
            await self._offer_stale(machine)
            for signed in self._early.take(tools.history):
                self.deliver(signed)
            while self._outcome is None:
                self._clock.enter(machine.phase.value, _now())
                await self._perform(machine, await self._next(machine))
            self._clock.enter("final" if isinstance(self._outcome, Finalised) else "catching_up", _now())
            return self._outcome
        finally:
            await self._end_tasks()

    async def _offer_stale(self, machine: RoundMachine) -> None:
        """Announce again what we sent on an older base and no commit took."""
        for claim in self._tools.contributor.outstanding():
            if claim.base != machine.setting.base.digest:
                with suppress(LocalProtocolError):  # the event's rules may not let it in any more
                    await self._perform(machine, machine.contributed(claim, _now()))

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

    def _spawn(self, work: Coroutine[None, None, Input | None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)

    def _task_ended(self, task: asyncio.Task[Input | None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            if (item := task.result()) is not None:
                self._put(item)
            return

        def fail(machine: RoundMachine, now: float) -> list[effects.Effect]:
            raise error

        self._put(fail)  # a bug in a task is a bug of the daemon, and must not pass unseen

    # Effects

    async def _perform(self, machine: RoundMachine, found: list[effects.Effect]) -> None:
        for effect in found:
            await self._do(machine, effect)

    async def _do(self, machine: RoundMachine, effect: effects.Effect) -> None:
        tools, work = self._tools, self.work
        match effect:
            case effects.Send(signed):
                failpoint(f"send-{signed.kind}")
                await tools.publish(signed)
            case effects.Persist(state):
                tools.store.save_voting(state.base, state.encode())
            case effects.KeepCommit(commit):
                tools.store.blobs.put_bytes(commit.encode())
            case effects.CloseTraining(reason):
                self._spawn(work.contribute(machine, reason), _CONTRIBUTE)
            case effects.CheckPayload(signed, contribution):
                self._spawn(work.check(machine, signed, contribution), "check")
            case effects.BuildCommit(draft):
                self._spawn(work.build(machine, draft), "build")
            case effects.FetchCommit(blob, sources):
                self._spawn(work.fetch(blob, sources), "fetch")
            case effects.ReplayCommit(commit, patience):
                self._spawn(work.replay(machine, commit, patience), "replay")
            case effects.CheckRefusals(commit):
                self._spawn(work.check_refusals(machine, commit), "refusals")
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

    # Being behind

    def _ask(self, peer: str) -> None:
        """Ask a peer that speaks of an unknown commit for its history, but not again and again, nor everybody at once."""
        name, running = _CATCH_UP + peer, {task.get_name() for task in self._tasks if task.get_name().startswith(_CATCH_UP)}
        if name not in running and self._asking.may_ask(peer, len(running), _now()):
            self._spawn(self._catch_up(peer), name)

    async def _catch_up(self, peer: str) -> Input:
        await self.work.catch_up(peer)
        return self._compare  # what was proven before it failed counts

    def _compare(self, machine: RoundMachine, now: float) -> list[effects.Effect]:
        """Say that the round is over if the head is not its base any more."""
        if self._tools.history.head.digest != machine.setting.base.digest:
            self._outcome = self._outcome or Overtaken()
        return []


def _now() -> float:
    return time.monotonic()
