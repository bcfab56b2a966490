"""Being behind: what is said of commits that we do not have yet, and whom we ask for them."""

from __future__ import annotations

from collections import deque
from collections.abc import Container
from dataclasses import dataclass

from ...protocol.canonical import decode
from ...protocol.errors import RemoteProtocolError
from ...protocol.history import History
from ...protocol.messages import Signed

_EARLY = 2048
_WAITING_BYTES = 16 << 20
_ASK_AGAIN_SECONDS = 2.0
_ASKED_AT_ONCE = 8


@dataclass(frozen=True)
class UpTo:
    """The commits of `history` but for those that build on `base`, which the round on `base` has no use for yet."""

    history: History
    base: bytes

    def __contains__(self, digest: object) -> bool:
        if not isinstance(digest, bytes) or digest not in self.history:
            return False
        return digest == self.base or not self.history.is_ancestor(self.base, digest)


class Envelopes:
    """Envelopes that wait, oldest first. The oldest go where there are more than `limit`, or more than so many bytes."""

    def __init__(self, limit: int, size: int = _WAITING_BYTES) -> None:
        self._limit = limit
        self._size = size
        self._bytes = 0
        self._waiting: deque[Signed] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def append(self, signed: Signed) -> None:
        """Add one."""
        self._waiting.append(signed)
        self._bytes += len(signed.body)
        while len(self._waiting) > self._limit or self._bytes > self._size:
            self.popleft()

    def popleft(self) -> Signed:
        """Take the oldest out."""
        signed = self._waiting.popleft()
        self._bytes -= len(signed.body)
        return signed

    def take(self) -> list[Signed]:
        """Take all out."""
        return [self.popleft() for _ in range(len(self))]


class EarlyMessages:
    """Envelopes about commits that are not known yet: whoever said them may be a moment ahead of us. The oldest go first.

    What gossip brought once it does not bring again for a while, so what is dropped here is missed.
    """

    def __init__(self, limit: int = _EARLY) -> None:
        self._waiting = Envelopes(limit)

    def __len__(self) -> int:
        return len(self._waiting)

    def note(self, signed: Signed, known: Container[bytes]) -> None:
        """Keep an envelope if its base is not among the `known` commits."""
        base = _base_of(signed)
        if base is not None and base not in known:
            self._waiting.append(signed)

    def take(self, known: Container[bytes]) -> list[Signed]:
        """Return those whose base is known by now, in the order they came; the others wait on."""
        waiting = self._waiting.take()
        for signed in waiting:
            self.note(signed, known)
        return [signed for signed in waiting if _base_of(signed) in known]


class Asking:
    """Whom to ask for history: a peer once in a while, and a few at the same time."""

    def __init__(self) -> None:
        self._asked: dict[str, float] = {}

    def may_ask(self, peer: str, running: int, now: float) -> bool:
        """Say whether to ask `peer` now (monotonic seconds), while `running` others are being asked; notes that we do."""
        if running >= _ASKED_AT_ONCE or now - self._asked.get(peer, float("-inf")) < _ASK_AGAIN_SECONDS:
            return False
        self._asked = {known: at for known, at in self._asked.items() if now - at < _ASK_AGAIN_SECONDS}
        self._asked[peer] = now
        return True


def _base_of(signed: Signed) -> bytes | None:
    try:
        body = decode(signed.body)
    except RemoteProtocolError:
        return None
    base = body.get("base") if isinstance(body, dict) else None
    return base if isinstance(base, bytes) else None
