"""Decides whether a gossiped message may go on, before it is delivered or forwarded. Sans-io, and free of py-libp2p.

The order is from cheap to dear, so that a flood costs little: shape and size, the forwarder's rate, the envelope and its
author, the two signatures (the envelope's, which history keeps, and libp2p's, which binds it to this topic and number), the
author's rate. The author's rate comes last because only a verified author may be charged.

An author's numbers rise. What comes with one that is not above all before may be an old message that somebody kept and brings
again, so it is charged to a rate of its own: nobody can use up an author's rate with the author's own words.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass

from ...protocol.amendments import SignedAmendment
from ...protocol.errors import RemoteProtocolError
from ...protocol.messages import MESSAGES, AmendmentNotice, Signed, VerdictNotice
from ...protocol.verdict import open_verdict
from ..rates import Buckets
from .limits import GossipLimits

_SEQUENCE_BYTES = 8
_AUTHORS = 4096


@dataclass(frozen=True)
class Parcel:
    """A GossipSub message: `author` is the peer id that it claims, `signed` checks libp2p's own signature when called."""

    author: str
    topics: tuple[str, ...]
    data: bytes
    sequence: bytes
    signed: Callable[[], bool]


class Gate:
    """Checks messages on `topics` under `limits`."""

    def __init__(self, topics: Collection[str], limits: GossipLimits) -> None:
        self._topics = frozenset(topics)
        self._limits = limits
        self.coordinators: frozenset[str] = frozenset()
        self._forwarders = Buckets(limits.forwarder)
        self._authors = Buckets(limits.author)
        self._late = Buckets(limits.author)
        self._newest: OrderedDict[str, bytes] = OrderedDict()

    def check(self, forwarder: str, parcel: Parcel, now: float) -> None:
        """Return if `parcel` may go on. Raises RemoteProtocolError with the reason why not; `now` is monotonic seconds."""
        self._check_shape(parcel)
        if not self._forwarders.take(forwarder, now):
            raise RemoteProtocolError("rate_limited", "forwarder")
        self._check_envelope(parcel)
        if not parcel.signed():
            raise RemoteProtocolError("bad_signature", "of the gossip frame")
        if not (self._authors if self._is_newest(parcel) else self._late).take(parcel.author, now):
            raise RemoteProtocolError("rate_limited", "author")

    def _is_newest(self, parcel: Parcel) -> bool:
        newest = self._newest.pop(parcel.author, b"")
        self._newest[parcel.author] = max(newest, parcel.sequence)
        if len(self._newest) > _AUTHORS:
            self._newest.popitem(last=False)
        return parcel.sequence > newest

    def _check_shape(self, parcel: Parcel) -> None:
        if len(parcel.data) > self._limits.message_bytes:
            raise RemoteProtocolError("oversized", f"{len(parcel.data)} bytes")
        if len(parcel.topics) != 1 or parcel.topics[0] not in self._topics:
            raise RemoteProtocolError("wrong_topic")
        if len(parcel.sequence) != _SEQUENCE_BYTES:
            raise RemoteProtocolError("malformed", "sequence number")

    def _check_envelope(self, parcel: Parcel) -> None:
        envelope = Signed.decode(parcel.data)
        if envelope.kind not in MESSAGES:
            raise RemoteProtocolError("unknown_kind", envelope.kind)
        if envelope.signer != parcel.author:
            raise RemoteProtocolError("wrong_author", envelope.signer)
        envelope.check_signature()
        if envelope.kind == AmendmentNotice.KIND:
            self._check_amendment(envelope)
        elif envelope.kind == VerdictNotice.KIND:
            for verdict in VerdictNotice.decode(envelope.body).verdicts:
                open_verdict(Signed.decode(verdict))

    def _check_amendment(self, envelope: Signed) -> None:
        """What only a coordinator may say goes on only if one has signed it; the daemon checks the rest."""
        signed = SignedAmendment.read(AmendmentNotice.decode(envelope.body).amendment)
        if not self.coordinators & set(signed.signers):
            raise RemoteProtocolError("not_a_coordinator")
        if not signed.are_genuine:
            raise RemoteProtocolError("bad_signature", "under an amendment")
