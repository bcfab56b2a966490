"""How a node learns of amendments, keeps them and hands them on.

Gossip brings one in seconds. Whoever missed it asks any peer: on joining, while it catches up, when a commit names an amendment
that it does not know, and now and then for no reason. What is new is checked, kept durably, and only then acted on.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing

import structlog

from ...protocol.amendments import MAX_AMENDMENTS, SignedAmendment
from ...protocol.errors import RemoteProtocolError
from ...protocol.history import History
from ...protocol.messages import AmendmentNotice, Signed
from ..net.rpc import Rpc
from ..store.store import Store
from .asking import AMENDMENTS, answer, ask

log = structlog.get_logger()


class Learning:
    """The amendments of a running node. `on_new` is called when what is in force may have changed."""

    def __init__(self, history: History, store: Store, rpc: Rpc, on_new: Callable[[], None] = lambda: None) -> None:
        self.on_new = on_new
        self._history = history
        self._store = store
        self._rpc = rpc

    def register(self) -> None:
        """Answer those who ask, from now on."""
        self._rpc.register(AMENDMENTS, self._answer)

    async def _answer(self, peer: str, body: bytes) -> bytes:
        return answer(self._history.event.digest, self._history.amendments, body)

    def take(self, signed: SignedAmendment) -> bool:
        """Check an amendment and keep it; False if it is known. Raises RemoteProtocolError with the rule that it breaks."""
        if not self._learn(signed):
            return False
        self.on_new()
        return True

    def _learn(self, signed: SignedAmendment) -> bool:
        amendments = self._history.amendments
        if signed.name in amendments or (len(amendments) >= MAX_AMENDMENTS // 2 and not self._may_count(signed)):
            return False
        amendments.add(signed)
        self._store.amendments.add(signed)
        content = signed.content
        log.debug("amendment", number=content.number, kind=content.body.kind)
        return True

    def _may_count(self, signed: SignedAmendment) -> bool:
        """Say whether an amendment follows what the newest commit names: half of the room is for those, whoever signs others."""
        previous, amendments = signed.content.previous, self._history.amendments
        return previous in amendments and amendments.follows(previous, self._history.head.amendment)

    def hear(self, signed: Signed) -> bool:
        """Take in what gossip brought; True if it was new. Raises RemoteProtocolError: "unknown_previous" if one is missing."""
        notice = signed.open_as(AmendmentNotice)
        if notice.event != self._history.event.digest:
            raise RemoteProtocolError("wrong_event")
        return self.take(SignedAmendment.read(notice.amendment))

    async def ask(self, peer: str, *, all: bool = False) -> bool:
        """Take over what a peer knows beyond our newest one (or `all`, forks too); True if something was new.

        Raises NetworkError if it cannot be asked, RemoteProtocolError if it lies.
        """
        learned, after = False, 0 if all else self._history.in_force.number
        try:
            async with aclosing(ask(self._rpc, peer, self._history.event.digest, after)) as coming:
                async for signed in coming:
                    learned |= self._learn(signed)
            return learned
        except RemoteProtocolError as error:
            if error.reason == "unknown_previous" and not all:  # the peer is on the other side of a fork
                return await self.ask(peer, all=True)
            raise
        finally:
            if learned:
                self.on_new()

    async def require(self, named: bytes | None, peer: str) -> None:
        """See to it that the amendment that a commit names is known, asking `peer` for it. Raises as `ask` does."""
        if named not in self._history.amendments:
            await self.ask(peer)
        if named not in self._history.amendments:
            await self.ask(peer, all=True)
        self._history.amendments.state(named)
