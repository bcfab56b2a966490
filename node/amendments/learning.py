"""How a node learns of amendments, keeps them and hands them on.

Gossip brings one in seconds. Whoever missed it asks any peer: on joining, while it catches up, when a commit names an amendment
that it does not know, and now and then for no reason. What is new is checked, kept durably, and only then acted on.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from ...protocol.amendments import SignedAmendment
from ...protocol.canonical import DOCUMENT_LIMITS
from ...protocol.errors import RemoteProtocolError
from ...protocol.exchange import AMENDMENTS_A_REPLY, AmendmentsReply, AmendmentsRequest
from ...protocol.history import History
from ...protocol.messages import AmendmentNotice, Signed
from ..net.rpc import Rpc
from ..store.store import Store

log = structlog.get_logger()

AMENDMENTS = "amendments"
_REPLY_BYTES = 256 * 1024
_PAGE_BYTES = 192 * 1024


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
        request = AmendmentsRequest.decode(body)
        if request.event != self._history.event.digest:
            raise RemoteProtocolError("unknown_event")
        later = self._history.amendments.after(request.after)
        page: list[bytes] = []
        for signed in later[:AMENDMENTS_A_REPLY]:
            if sum(map(len, page)) + len(signed.encode()) > _PAGE_BYTES:
                break
            page.append(signed.encode())
        return AmendmentsReply(amendments=tuple(page), more=len(later) > len(page)).encode()

    def take(self, signed: SignedAmendment) -> bool:
        """Check an amendment and keep it; False if it is known. Raises RemoteProtocolError with the rule that it breaks."""
        if not self._learn(signed):
            return False
        self.on_new()
        return True

    def _learn(self, signed: SignedAmendment) -> bool:
        amendments = self._history.amendments
        if signed.name in amendments:
            return False
        amendments.add(signed)
        self._store.amendments.add(signed)
        content = signed.content
        log.debug("amendment", number=content.number, kind=content.body.kind)
        return True

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
            while True:
                reply, asked = await self._request(peer, after), after
                for data in reply.amendments:
                    learned |= self._learn(signed := SignedAmendment.read(data))
                    after = signed.content.number
                if not reply.more or after <= asked:
                    return learned
        except RemoteProtocolError as error:
            if error.reason == "unknown_previous" and not all:  # the peer is on the other side of a fork
                return await self.ask(peer, all=True)
            raise
        finally:
            if learned:
                self.on_new()

    async def _request(self, peer: str, after: int) -> AmendmentsReply:
        request = AmendmentsRequest(event=self._history.event.digest, after=after)
        body = await self._rpc.call(peer, AMENDMENTS, request.encode(), limit=_REPLY_BYTES)
        return AmendmentsReply.decode(body, DOCUMENT_LIMITS)

    async def require(self, named: bytes | None, peer: str) -> None:
        """See to it that the amendment that a commit names is known, asking `peer` for it. Raises as `ask` does."""
        if named not in self._history.amendments:
            await self.ask(peer)
        if named not in self._history.amendments:
            await self.ask(peer, all=True)
        self._history.amendments.state(named)
