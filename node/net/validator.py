"""The hook by which hivemind asks, before it stores or returns a record, whether the record is good."""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import TypeVar

import msgpack

from ...protocol.errors import RemoteProtocolError
from .hivemind_parts import DHTID, DHTRecord, RecordValidatorBase
from .records import MAX_LIFETIME, MAX_RECORD, Described, SignedRecord

T = TypeVar("T")

_WRAPPING = 16  # bytes that msgpack may add around the value
_MAX_STORED = 50_000
_OF_A_PEER = 64


class RecordValidator(RecordValidatorBase):  # type: ignore[misc]  # hivemind has no types
    """Accepts signed records of one event, in their place, until their own expiration: at most `stored`, and few of one peer.

    The bounds are there because whoever makes keys can make records, and hivemind's store has none.
    """

    def __init__(
        self, event: bytes, clock: Callable[[], float], on_refused: Callable[[str], None], stored: int = _MAX_STORED
    ) -> None:
        self._event = event
        self._clock = clock
        self._on_refused = on_refused
        self._stored = stored
        self._known: OrderedDict[tuple[bytes, bytes], float] = OrderedDict()
        self._of = Counter[bytes]()
        self._looked = -math.inf

    def validate(self, record: DHTRecord) -> bool:
        """Say whether `record` may be stored or returned."""
        try:
            self.check(record)
        except RemoteProtocolError as error:
            self._on_refused(error.reason)
            return False
        return True

    def check(self, record: DHTRecord) -> Described:
        """Return what `record` says. Raises RemoteProtocolError."""
        if len(record.value) > MAX_RECORD + _WRAPPING or len(record.subkey) > MAX_RECORD:
            raise RemoteProtocolError("oversized", f"{len(record.value)} bytes")
        found = SignedRecord.unseal(_unwrapped(record.value, bytes))
        if found.event != self._event:
            raise RemoteProtocolError("wrong_event", found.event.hex())
        if record.key != DHTID.generate(source=found.key).to_bytes() or _unwrapped(record.subkey, str) != found.peer:
            raise RemoteProtocolError("wrong_key", found.peer)
        if record.expiration_time != found.expires:
            raise RemoteProtocolError("wrong_expiration", found.peer)
        now = self._clock()
        if found.expires > now + MAX_LIFETIME:
            raise RemoteProtocolError("expires_too_late", found.peer)
        if found.expires > now:
            self._count((record.key, record.subkey), found.expires, now)
        return found

    def _count(self, place: tuple[bytes, bytes], expires: float, now: float) -> None:
        if place not in self._known:
            if self._is_full(place) and now >= self._looked + 1.0:  # looking through all of them costs more than one record
                self._forget_expired(now)
            if self._is_full(place):
                raise RemoteProtocolError("too_many_records")
            self._of[place[1]] += 1
        self._known[place] = expires

    def _is_full(self, place: tuple[bytes, bytes]) -> bool:
        return len(self._known) >= self._stored or self._of[place[1]] >= _OF_A_PEER

    def _forget_expired(self, now: float) -> None:
        self._looked = now
        for place in [place for place, until in self._known.items() if until <= now]:
            del self._known[place]
            self._of[place[1]] -= 1
        self._of = +self._of

    def merge_with(self, other: RecordValidatorBase) -> bool:
        """Never merge: one event, one validator."""
        return False


def _unwrapped(data: bytes, kind: type[T]) -> T:
    try:
        value = msgpack.unpackb(data, raw=False)
    except (ValueError, msgpack.UnpackException) as error:
        raise RemoteProtocolError("malformed", "not msgpack") from error
    if not isinstance(value, kind):
        raise RemoteProtocolError("malformed", f"not {kind.__name__}")
    return value
