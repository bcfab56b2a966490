"""How many inbound connections there are, in all and of one address."""

from __future__ import annotations

from collections import Counter


class ConnectionBounds:
    """Counts inbound connections by address."""

    def __init__(self, total: int, per_address: int) -> None:
        self._total = total
        self._per_address = per_address
        self._open: Counter[str] = Counter()
        self.refused = 0

    @property
    def open(self) -> int:
        """Inbound connections that are open, handshakes included."""
        return self._open.total()

    def admit(self, address: str) -> bool:
        """Count a new connection from `address`, unless it is one too many."""
        if self._open.total() >= self._total or self._open[address] >= self._per_address:
            self.refused += 1
            return False
        self._open[address] += 1
        return True

    def release(self, address: str) -> None:
        """Forget a connection that was admitted."""
        self._open[address] -= 1
        if not self._open[address]:
            del self._open[address]
