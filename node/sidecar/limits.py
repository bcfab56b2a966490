"""What the sidecar allows itself and others."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from ..rates import Rate

_FORWARDER = Rate(200.0, 600.0)
_AUTHOR = Rate(20.0, 100.0)


@dataclass(frozen=True)
class GossipLimits:
    """Bounds on what is sent, received and accepted. The daemon may send other values with `start`."""

    message_bytes: int = 64 * 1024
    rpc_bytes: int = 256 * 1024
    connections: int = 128
    connections_per_address: int = 32
    # A forwarder is charged for every message it brings that we have not seen, an author for every message it signed.
    forwarder: Rate = _FORWARDER
    author: Rate = _AUTHOR
    # Shorter than the interval at which a node repeats itself (half of `rounds.view`): its repetition is for those who missed it.
    duplicate_seconds: float = 2.0


class Recent:
    """Remembers keys for `seconds`, at most `keys` of them."""

    def __init__(self, seconds: float, keys: int = 8192) -> None:
        self._seconds = seconds
        self._keys = keys
        self._seen: OrderedDict[bytes, float] = OrderedDict()

    def add(self, key: bytes, now: float) -> bool:
        """Remember `key`; False if it is remembered already. The first sight counts: repeating a key does not prolong it."""
        while self._seen and next(iter(self._seen.values())) <= now - self._seconds:
            self._seen.popitem(last=False)
        if key in self._seen:
            return False
        self._seen[key] = now
        if len(self._seen) > self._keys:
            self._seen.popitem(last=False)
        return True
