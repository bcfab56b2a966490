"""Amendments between two nodes: a page a call, oldest first, forks included."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable
from typing import Protocol

from ...protocol.amendments import Amendments, SignedAmendment
from ...protocol.canonical import DOCUMENT_LIMITS
from ...protocol.errors import RemoteProtocolError
from ...protocol.exchange import AMENDMENTS_A_REPLY, AmendmentsReply, AmendmentsRequest

AMENDMENTS = "amendments"
_REPLY_BYTES = 256 * 1024
_PAGE_BYTES = 192 * 1024
_SECONDS = 20.0


class Calls(Protocol):
    """What is needed of `net.rpc.Rpc`."""

    def call(self, peer_id: str, name: str, body: bytes, *, timeout: float, limit: int) -> Awaitable[bytes]:
        """See Rpc."""


def answer(event: bytes, amendments: Amendments, body: bytes) -> bytes:
    """Return the page that a request asks for. Raises RemoteProtocolError."""
    request = AmendmentsRequest.decode(body)
    if request.event != event:
        raise RemoteProtocolError("unknown_event")
    later = amendments.after(request.after)
    page: list[bytes] = []
    for signed in later[:AMENDMENTS_A_REPLY]:
        if sum(map(len, page)) + len(signed.encode()) > _PAGE_BYTES:
            break
        page.append(signed.encode())
    return AmendmentsReply(amendments=tuple(page), more=len(later) > len(page)).encode()


async def ask(calls: Calls, peer: str, event: bytes, after: int) -> AsyncGenerator[SignedAmendment]:
    """Yield what a peer knows beyond number `after`. Raises NetworkError, and RemoteProtocolError if it lies."""
    while True:
        body = AmendmentsRequest(event=event, after=after).encode()
        data = await calls.call(peer, AMENDMENTS, body, timeout=_SECONDS, limit=_REPLY_BYTES)
        reply, asked = AmendmentsReply.decode(data, DOCUMENT_LIMITS), after
        for encoded in reply.amendments:
            signed = SignedAmendment.read(encoded)
            after = signed.content.number
            yield signed
        if not reply.more or after <= asked:
            return
