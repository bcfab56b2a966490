"""From round to round: on a node that is ready, until the event or the wanted number of rounds is over."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import structlog

from ...protocol.commit import Commit
from .. import remembered
from ..credit.leaderboard import remember_names
from ..errors import NothingToDo
from ..processes.ipc import ChannelClosed, RemoteFailure
from .driver import Finalised, RoundDriver
from .fetching import Unavailable
from .weights import StateMismatch

if TYPE_CHECKING:
    from ..node import Node

log = structlog.get_logger()

_RETRY_SECONDS = 2.0
_FOLLOW_SECONDS = 10.0


class RoundLoop:
    """Runs the rounds; `leave` and `on_rest` may be called at any time. `commits_made` counts those that it saw through."""

    def __init__(self, node: Node) -> None:
        self.commits_made = 0
        self._node = node
        self._using_worker: asyncio.Task[bool] | None = None
        self._leaves_after: int | None = None

    async def run(self) -> None:
        """Go from round to round until the event or the wanted number of rounds is over; stay a while for those behind."""
        node = self._node
        assert node.driver is not None
        node.accounting.begin(node.history, node.contributor)
        await self._account()
        self._check_open()
        while True:
            while not self._is_enough():
                if node.pausing.reason:
                    await self._rest()
                elif await self._reach(node.history.head):
                    node.check_admission()
                    node.phase = "round"
                    await self._round(node.driver, node.history.head, train=node.options.trains)
            node.phase = "serving" if node.is_over else "leaving"
            stays = node.options.serves and not self.leaves
            try:
                async with asyncio.timeout(None if stays else node.event.rounds.view):
                    while self._is_enough():  # until the event is extended
                        await self._round(node.driver, node.history.head, train=False)
            except TimeoutError:
                return

    def _check_open(self) -> None:
        """Raise NothingToDo if we came to train, and the event is over; its history and its last weights are here then."""
        options = self._node.options
        if options.trains and options.invite is not None and self._node.is_over:
            ended = f"this event is closed: round {self._node.history.head.round} was its last"
            raise NothingToDo(ended, "`collab-node export` saves the model that it made")

    async def _rest(self) -> None:
        """Follow the history without a worker, a round or a vote until the node goes on."""
        node = self._node
        node.phase = "paused"
        await node.pausing.enforce()
        while not await node.pausing.ended(_FOLLOW_SECONDS):
            await node.ask_around()
        node.phase = "round"

    async def on_rest(self) -> None:
        """Tell the swarm not to wait for us, leave the round, and wait no longer for a worker that will sleep."""
        if self._using_worker is not None:
            self._using_worker.cancel()
        if self._node.driver is not None:
            await self._node.driver.goodbye()
            self._node.driver.interrupt()

    async def leave(self) -> float:
        """End with this round: hand in what was trained so far. Return how many seconds that may take."""
        node = self._node
        working = node.phase == "round" and node.options.trains and not node.pausing.reason
        if not working or node.driver is None or self._is_enough():
            node.stop.set()
            return 0.0
        rounds = node.event.rounds
        self._leaves_after = node.history.head.round
        limit = rounds.collect + 4 * rounds.view
        asyncio.get_running_loop().call_later(limit, node.stop.set)
        with suppress(RemoteFailure, ChannelClosed):
            await node.host.use(lambda worker: worker.stop_training())
        return limit

    @property
    def leaves(self) -> bool:
        """Whether it was asked to leave with the round that runs."""
        return self._leaves_after is not None

    async def _round(self, driver: RoundDriver, head: Commit, *, train: bool) -> None:
        outcome = await driver.run(head, train=train)
        if isinstance(outcome, Finalised) and self._node.history.head is head:
            await self._node.catch_up.accept([outcome.commit], outcome.certificate)
            self.commits_made += 1
            self._node.metrics.rounds.inc()
        await self._account()

    def _is_enough(self) -> bool:
        wanted = self._node.options.max_rounds
        if self._leaves_after is not None and self._leaves_after < self._node.history.head.round:
            return True
        return self._node.is_over or (wanted is not None and self.commits_made >= wanted)

    async def _reach(self, head: Commit) -> bool:
        """Bring the weights to the head; False if that has to be tried again, or the node rests from now on."""
        return await self._unless_resting(self._bring_to(head))

    async def _unless_resting(self, work: Coroutine[Any, Any, bool]) -> bool:
        """Return what `work` with the worker says; False if the node rests, or begins to meanwhile: a worker that sleeps answers
        only when the rest is over."""
        pausing = self._node.pausing
        if pausing.reason:
            work.close()
            return False
        self._using_worker = working = asyncio.ensure_future(work)
        try:
            await asyncio.wait({working})
        finally:
            self._using_worker = None
            if working.cancel():  # we are cancelled ourselves: nothing of it may go on behind
                await asyncio.wait({working})
        return not working.cancelled() and working.result() and not pausing.reason

    async def _bring_to(self, head: Commit) -> bool:
        node = self._node
        if node.witness is not None and head.parents and node.weights.base == head.base:
            await node.witness.see(head, tests=not node.options.trains)
            await node.sharing.tell()
        try:
            await node.weights.bring_to(head)
        except (Unavailable, StateMismatch, RemoteFailure, ChannelClosed) as error:
            log.warning("cannot reach the newest commit yet", round=head.round, why=str(error))
            await asyncio.sleep(_RETRY_SECONDS)
            await node.ask_around()
            return False
        return True

    async def _account(self) -> None:
        """Account for every commit since the last time, and remember whom we know."""
        node, head = self._node, self._node.history.head
        if not await self._reach(head) or not await self._unless_resting(node.accounting.account()):
            return
        known = sorted(node.network.peers.items())
        remembered.save_peers(node.store, (record.p2p for _, record in known))
        named = [*((peer, record.name) for peer, record in known), (node.identity.peer_id, node.options.settings.name)]
        await node.leaderboard.update()
        credited = {*(member.peer for member in head.roster), *(credit.peer for credit in node.leaderboard.ranking)}
        node.leaderboard.names = remember_names(node.store, named, credited)
        node.receipts.needed(snapshot.blob.digest for snapshot in node.store.snapshots())
        node.receipts.save()
