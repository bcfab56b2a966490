"""GossipSub with our gate in front of it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Any

import libp2p.pubsub.gossipsub
import libp2p.pubsub.pubsub
import trio
from google.protobuf.message import DecodeError
from libp2p.abc import IHost, INetStream
from libp2p.custom_types import TProtocol
from libp2p.peer.id import ID
from libp2p.pubsub.gossipsub import PROTOCOL_ID_V11, GossipSub
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.pubsub import Pubsub
from libp2p.pubsub.utils import safe_bytes_from_hex
from libp2p.pubsub.validators import signature_validator

from ...protocol.errors import RemoteProtocolError
from .gate import Gate, Parcel
from .limits import GossipLimits, Recent

# Not 1.2, which tells everybody of each message that it need not be sent: that costs as much as sending one of ours.
PROTOCOLS: tuple[TProtocol, ...] = (PROTOCOL_ID_V11,)
_READ_SIZE = 64 * 1024
_ANSWER_BYTES = 128 * 1024

# Every RPC brings its sender's addresses with a signature, which the library would verify twice; whom we dial the daemon says.
libp2p.pubsub.pubsub.maybe_consume_signed_record = lambda *_: True
libp2p.pubsub.gossipsub.maybe_consume_signed_record = lambda *_: True

Deliver = Callable[[str, bytes, ID, ID], None]
Refuse = Callable[[str, ID], None]


class Router(GossipSub):  # type: ignore[misc]  # the library has no types
    """The library's router, which remembers any topic that a peer makes up, dials whom a peer names, and sends a message as
    often as it stands in one wish."""

    async def handle_rpc(self, rpc: rpc_pb2.RPC, sender_peer_id: ID) -> None:
        """Hear the control messages about our topics. Whom we dial the daemon says."""
        words: Any
        for words in (rpc.control.ihave, rpc.control.graft, rpc.control.prune):
            ours = [word for word in words if word.topicID in self.mesh]
            del words[:]
            words.extend(ours)
        for prune in rpc.control.prune:
            del prune.peers[:]
        await super().handle_rpc(rpc, sender_peer_id)

    async def handle_iwant(self, iwant_msg: rpc_pb2.ControlIWant, sender_peer_id: ID) -> None:
        """Send what a peer asks for, each message once, and no more than it can take in one RPC."""
        fitting, size = rpc_pb2.ControlIWant(), 0
        for wanted in dict.fromkeys(map(safe_bytes_from_hex, iwant_msg.messageIDs)):
            found = self.mcache.get(wanted)
            size += found.ByteSize() if found is not None else 0
            if size > _ANSWER_BYTES:
                break
            if found is not None:
                fitting.messageIDs.append(wanted.hex().encode())
        await super().handle_iwant(fitting, sender_peer_id)


def new_router() -> Router:
    """Return a router whose defaults suit a swarm that lives for minutes: the library's heartbeat is two minutes.

    The adaptive mode is off because it sets the heartbeat to 30 s or more as soon as a swarm is small; the library's own spam
    protection is off because it drops messages, unseen, that the gate has counted and accepted.
    """
    return Router(
        protocols=PROTOCOLS,
        degree=6,
        degree_low=4,
        degree_high=10,
        gossip_window=10,
        gossip_history=30,
        heartbeat_interval=1,
        prune_back_off=10,
        unsubscribe_back_off=2,
        adaptive_gossip_enabled=False,
        spam_protection_enabled=False,
    )


class _Buffered:
    """A stream read in large pieces: the library reads lengths a byte at a time, and for each read sends a window update."""

    def __init__(self, stream: INetStream) -> None:
        self._stream = stream
        self._read = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    async def read(self, count: int) -> bytes:
        """Return at most `count` bytes, and at least one before the stream's end."""
        if not self._read:
            self._read = await self._stream.read(_READ_SIZE)
        data, self._read = self._read[:count], self._read[count:]
        return data


class GatedPubsub(Pubsub):  # type: ignore[misc]  # the library has no types
    """Pubsub that delivers and forwards only what `gate` lets through.

    It has its own pipeline because the library's drops a bad message without a word, and delivers through a queue of 32.
    """

    router: GossipSub

    def __init__(
        self, host: IHost, router: GossipSub, gate: Gate, limits: GossipLimits, deliver: Deliver, refuse: Refuse
    ) -> None:
        super().__init__(host, router, strict_signing=True, max_inbound_rpc_size=limits.rpc_bytes)
        # The library counts messages from the present second on: more than one a second, and after a restart the numbers, and
        # with them the messages, are ones that our peers have seen.
        self.counter = time.time_ns()
        self._gate = gate
        self._recent = Recent(limits.duplicate_seconds)
        self._deliver = deliver
        self._refuse = refuse

    async def continuously_read_stream(self, stream: INetStream) -> None:
        """Read RPCs until the stream ends. The library lets bytes that are no RPC end the whole process."""
        try:
            await super().continuously_read_stream(_Buffered(stream))
        except DecodeError:
            peer = stream.muxed_conn.peer_id
            self._refuse("malformed", peer)
            await stream.reset()
            self._handle_dead_peer(peer)

    async def push_msg(self, msg_forwarder: ID, msg: rpc_pb2.Message) -> None:
        """Take a message from a peer, or from ourselves, through the gate and on to the mesh."""
        if msg_forwarder != self.my_id and not self._accept(msg_forwarder, msg):
            return
        self._mark_msg_seen(msg)
        if msg_forwarder != self.my_id:
            self._hand_over(msg_forwarder, msg)
        await self.router.publish(msg_forwarder, msg)
        # The library prunes these times in the adaptive mode only, and otherwise keeps them for ever.
        self.router.recent_message_deliveries.clear()

    def _accept(self, forwarder: ID, msg: rpc_pb2.Message) -> bool:
        author = ID(msg.from_id)
        if author == self.my_id or self._is_msg_seen(msg):
            return False
        if self.is_peer_blacklisted(forwarder) or self.is_peer_blacklisted(author):
            return False
        try:
            self._gate.check(forwarder.to_base58(), _parcel(author, msg), trio.current_time())
        except RemoteProtocolError as error:
            self._refuse(error.reason, forwarder)
            return False
        return True

    def _hand_over(self, forwarder: ID, msg: rpc_pb2.Message) -> None:
        # An author may say the same thing again for those who were away: it is forwarded, but the daemon hears it once.
        if self._recent.add(hashlib.sha256(msg.data).digest(), trio.current_time()):
            self._deliver(msg.topicIDs[0], msg.data, ID(msg.from_id), forwarder)


def _parcel(author: ID, msg: rpc_pb2.Message) -> Parcel:
    return Parcel(author.to_base58(), tuple(msg.topicIDs), msg.data, msg.seqno, lambda: _is_signed(msg))


def _is_signed(msg: rpc_pb2.Message) -> bool:
    try:
        return bool(signature_validator(msg))
    except Exception:  # the library raises many types for keys that are none; each means: not signed
        return False
