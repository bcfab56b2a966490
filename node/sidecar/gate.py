"""Decides whether a gossiped message may go on, before it is delivered or forwarded. Sans-io.

The order is from cheap to dear, so that a flood costs little: shape and size, the forwarder's rate, the envelope and its
author, the two signatures (the envelope's, which history keeps, and libp2p's, which binds it to this topic and number), the
author's rate. The author's rate comes last because only a verified author may be charged.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from libp2p.peer.id import ID
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.validators import signature_validator

from ...protocol.errors import RemoteProtocolError
from ...protocol.messages import MESSAGES, Signed
from ..rates import Buckets
from .limits import GossipLimits

_SEQUENCE_BYTES = 8


class Gate:
    """Checks messages on `topics` under `limits`."""

    def __init__(
        self,
        topics: Collection[str],
        limits: GossipLimits,
        verify_libp2p: Callable[[rpc_pb2.Message], bool] = signature_validator,
    ) -> None:
        self._topics = frozenset(topics)
        self._limits = limits
        self._verify_libp2p = verify_libp2p
        self._forwarders = Buckets(limits.forwarder)
        self._authors = Buckets(limits.author)

    def check(self, forwarder: ID, message: rpc_pb2.Message, now: float) -> None:
        """Return if `message` may go on. Raises RemoteProtocolError with the reason why not; `now` is monotonic seconds."""
        self._check_shape(message)
        if not self._forwarders.take(forwarder.to_bytes(), now):
            raise RemoteProtocolError("rate_limited", "forwarder")
        self._check_envelope(message)
        if not self._signed(message):
            raise RemoteProtocolError("bad_signature", "of the gossip frame")
        if not self._authors.take(message.from_id, now):
            raise RemoteProtocolError("rate_limited", "author")

    def _check_shape(self, message: rpc_pb2.Message) -> None:
        if len(message.data) > self._limits.message_bytes:
            raise RemoteProtocolError("oversized", f"{len(message.data)} bytes")
        if len(message.topicIDs) != 1 or message.topicIDs[0] not in self._topics:
            raise RemoteProtocolError("wrong_topic")
        if len(message.seqno) != _SEQUENCE_BYTES:
            raise RemoteProtocolError("malformed", "sequence number")

    def _check_envelope(self, message: rpc_pb2.Message) -> None:
        envelope = Signed.decode(message.data)
        if envelope.kind not in MESSAGES:
            raise RemoteProtocolError("unknown_kind", envelope.kind)
        if envelope.signer != ID(message.from_id).to_base58():
            raise RemoteProtocolError("wrong_author", envelope.signer)
        envelope.check_signature()

    def _signed(self, message: rpc_pb2.Message) -> bool:
        try:
            return self._verify_libp2p(message)
        except Exception:  # the library raises many types for keys that are none; each means: not signed
            return False
