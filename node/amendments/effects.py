"""What a running node does about amendments, beyond what the rounds do: whom it hears, when it rests, what it tells its owner."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog

from ...protocol.amendments import InForce, SignedAmendment
from ...protocol.errors import RemoteProtocolError
from ...protocol.messages import AmendmentNotice, Signed
from ..event.admitting import banned_error
from ..finding import bootstrap
from ..net.errors import NetworkError
from .words import pause_words, standing_words

if TYPE_CHECKING:
    from ..node import Node

log = structlog.get_logger()

_ASK_SECONDS = 30.0
_LAST_WORDS_SECONDS = 2.0


class Effects:
    """Follows what is in force in one node. `changed` may be called at any time; `run` acts on it.

    `ready`: the event is known, and with it who may amend it.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._news = asyncio.Event()
        self._missed = False
        self.ready = False
        self._banned: frozenset[str] = frozenset()
        self._applied: InForce | None = None

    def changed(self) -> None:
        """Say that there is something new."""
        self._news.set()
        if self._node.driver is not None:
            self._node.driver.amended()

    def ask_soon(self) -> None:
        """Ask a peer for what we missed."""
        self._missed = True
        self._news.set()

    async def run(self) -> None:
        """Act on what is new, and ask somebody now and then whether there is more, for ever. Raises UserError once banned."""
        while True:
            self._news.clear()
            await self.apply()
            try:
                async with asyncio.timeout(_ASK_SECONDS):
                    await self._news.wait()
            except TimeoutError:
                self._missed = True
            if self._missed:
                self._missed = False
                await self._ask_anyone()

    async def begin(self) -> None:
        """Hear those who may be heard, before there is anything else to act on."""
        self.ready = True
        state = self._node.history.in_force
        await self._node.network.gossip.follow(state.coordinators)
        await self._shut_out(frozenset(state.banned))

    async def apply(self) -> None:
        """Bring the node to what is in force. Raises UserError if we are banned."""
        node, state = self._node, self._node.history.in_force
        before, self._applied = self._applied, state
        if before is not None and before.digest == state.digest:
            return
        self._tell(before, state)
        if node.identity.peer_id in state.banned:
            raise banned_error(state.banned[node.identity.peer_id])
        await node.network.gossip.follow(state.coordinators)
        if state.paused:
            await node.pausing.pause("coordinators", pause_words(state))
        else:
            node.pausing.resume("coordinators")
        known = node.network.bootstrap[: len(state.bootstrap)] if before is None else before.bootstrap
        if state.bootstrap and state.bootstrap != known:
            node.network.find_at(bootstrap(node.store, state.bootstrap))
        if node.driver is not None and before is not None and before.last_round != state.last_round:
            node.driver.interrupt()  # the round that runs may be one too many, or there may be one again
        if before is not None and frozenset(state.banned) - self._banned:
            await asyncio.sleep(_LAST_WORDS_SECONDS)  # whoever is banned should hear of it too; rounds refuse it already
        await self._shut_out(frozenset(state.banned))

    async def _shut_out(self, banned: frozenset[str]) -> None:
        network = self._node.network
        for peer in banned - self._banned:
            await network.ban(peer)
        for peer in self._banned - banned:
            await network.unban(peer)
        self._banned = banned

    def _tell(self, before: InForce | None, state: InForce) -> None:
        told = {each.number for each in before.announcements} if before is not None else set()
        for each in state.announcements:
            if each.number not in told:
                log.info("announcement", text=each.text)
        for words in standing_words(before, state) if before is not None else ():
            log.info("the coordinators decided", what=words)

    async def _ask_anyone(self) -> None:
        peers = self._node.likely_peers()
        if peers:
            peer = random.choice(peers)
            with suppress(NetworkError, RemoteProtocolError):  # another time, another peer
                await self._node.learning.ask(peer)

    # Handing on

    async def publish(self, signed: SignedAmendment) -> None:
        """Tell everybody of an amendment that this node has taken."""
        notice = AmendmentNotice(event=signed.content.event, amendment=signed.encode())
        await self._node.publish(Signed.seal(self._node.identity, notice))

    async def publish_pending(self) -> None:
        """On a coordinator's node: tell everybody of what no commit names yet; it may be new since the node last ran."""
        history = self._node.history
        if self._node.identity.peer_id in history.in_force.coordinators:
            named = history.amendments.state(history.head.amendment).number
            for signed in history.amendments.chain(history.head.amendment)[named:]:
                await self.publish(signed)
