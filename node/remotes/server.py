"""What a node answers to `fetch` and `push`: everybody may read what it publishes, pushes are taken from allowed keys alone.

A push can take longer than a call may: the first call starts it, the same call again asks how it is going. It ends by itself when
the pusher is gone, because it fetches from the pusher.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import structlog

from ...protocol.errors import RemoteProtocolError
from ...protocol.messages import Blob
from ...protocol.record import sha256
from ...protocol.remote import (
    COMMITS_A_REPLY,
    MAX_UPDATES,
    RECORD_LIMITS,
    PathReply,
    PathRequest,
    PushReply,
    PushRequest,
    RecordRequest,
    RefsReply,
    RefsRequest,
    StateReply,
    StateRequest,
)
from ..amendments.asking import AMENDMENTS, answer
from ..history.graph import StoreGraph
from ..net.errors import NetworkError
from ..net.rpc import Rpc
from ..net.traffic import Traffic
from ..units import peer_text
from .accepting import accept
from .config import may_push
from .peer import PATH, PUSH, RECORD, REFS, STATE, Fetch, PeerSource
from .place import Place
from .published import advertised, published, record
from .receive import Receiver
from .source import Missing, path_after, state_before

log = structlog.get_logger()

_PUSHES = 4
_ANSWER_SECONDS = 5.0
_PUSHED_BYTES = 1 << 36


@dataclass
class _Push:
    """A push of one peer that is on its way, or whose answer was not fetched yet."""

    request: bytes
    task: asyncio.Task[list[str]]


class RemoteServer:
    """Answers for one event. `close` ends what is going on."""

    def __init__(self, place: Place, rpc: Rpc, fetch: Fetch, traffic: Traffic) -> None:
        self._place = place
        self._rpc = rpc
        self._fetch = fetch
        self._traffic = traffic
        self._graph = StoreGraph(place.store)
        self._pushes: dict[str, _Push] = {}

    def register(self, *, alone: bool = False) -> None:
        """Answer calls from now on. `alone`: without a daemon, for one command, which tells of amendments and takes no pushes."""
        self._rpc.register(REFS, self.refs)
        self._rpc.register(PATH, self.path)
        self._rpc.register(STATE, self.state)
        self._rpc.register(RECORD, self.record)
        if alone:
            self._rpc.register(AMENDMENTS, self.amendments)
        else:
            self._rpc.register(PUSH, self.push)

    async def close(self) -> None:
        """End the pushes that are on their way; nothing of them that is not finished counts."""
        running = [push.task for push in self._pushes.values()]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def refs(self, peer: str, body: bytes) -> bytes:
        """Tell what is published."""
        self._check_event(RefsRequest.decode(body).event)
        return RefsReply(refs=advertised(published(self._place.store, self._place.packages))).encode()

    async def path(self, peer: str, body: bytes) -> bytes:
        """Tell which commits lead to the tip."""
        request = PathRequest.decode(body)
        self._check_event(request.event)
        try:
            path = path_after(self._graph, request.tip, frozenset(request.have))
        except Missing as error:
            raise RemoteProtocolError("unavailable", error.message) from error
        sent, store = path[:COMMITS_A_REPLY], self._place.store
        return PathReply(
            commits=tuple(Blob(sha256=digest, size=store.blobs.size(digest) or 1) for digest in sent),
            certificate=store.certificate(sent[-1]) if sent else None,
            more=len(path) > len(sent),
        ).encode()

    async def state(self, peer: str, body: bytes) -> bytes:
        """Tell which is the newest state before the tip."""
        request = StateRequest.decode(body)
        self._check_event(request.event)
        try:
            return StateReply(state=state_before(self._place.store, self._graph, request.tip)).encode()
        except Missing as error:
            raise RemoteProtocolError("unavailable", error.message) from error

    async def record(self, peer: str, body: bytes) -> bytes:
        """Give a record."""
        request = RecordRequest.decode(body)
        self._check_event(request.event)
        found = record(self._place.store, self._place.packages, request.name)
        if found is None or sha256(found) != request.sha256:
            raise RemoteProtocolError("unavailable", request.name[:80])
        return found

    async def amendments(self, peer: str, body: bytes) -> bytes:
        """Give a page of the event's amendments."""
        event = self._place.event
        return answer(event.digest, self._place.store.amendments.of(event), body)

    async def push(self, peer: str, body: bytes) -> bytes:
        """Begin a push, or tell how it is going."""
        if not may_push(self._place.store, peer):
            raise RemoteProtocolError("not_allowed")
        request = PushRequest.decode(body, RECORD_LIMITS)
        self._check_event(request.event)
        push = self._pushes.get(peer)
        if push is None or push.request != body:
            self._check_free(push)
            task = asyncio.create_task(self._accept(peer, request), name=f"push of {peer_text(peer)}")
            push = self._pushes[peer] = _Push(body, task)
        done, _ = await asyncio.wait([push.task], timeout=_ANSWER_SECONDS)
        if not done:
            return PushReply(done=False, refused=()).encode()
        self._pushes.pop(peer, None)
        return PushReply(done=True, refused=tuple(push.task.result())).encode()

    def _check_free(self, push: _Push | None) -> None:
        running = sum(not each.task.done() for each in self._pushes.values())
        if running >= _PUSHES or (push is not None and not push.task.done()):
            raise RemoteProtocolError("busy")

    async def _accept(self, peer: str, request: PushRequest) -> list[str]:
        source = PeerSource(self._rpc, self._fetch, peer, request.event, self._place.store)
        receiver = Receiver(self._place, source, limit=_PUSHED_BYTES)
        try:
            refused = await accept(receiver, request.updates)
        except NetworkError as error:
            refused = [f"this node cannot fetch from yours: {error}"[:200]] * min(len(request.updates), MAX_UPDATES)
        for update, why in zip(request.updates, refused, strict=True):
            log.info("push", peer=peer, ref=update.name, refused=why or None)
            if why:
                self._traffic.refused["push_refused"] += 1
        return refused

    def _check_event(self, event: bytes) -> None:
        if event != self._place.event.digest:
            raise RemoteProtocolError("unknown_event")
