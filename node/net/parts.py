"""Which parts of a blob are there, in a resume map beside the partial file, and who fetches which part next."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ...protocol.canonical import Limits, decode, encode
from ...protocol.errors import RemoteProtocolError

_MAP_LIMITS = Limits(size=1024 * 1024, depth=2, items=16)


@dataclass(frozen=True)
class Part:
    """Bytes `offset` to `offset + length` of a blob."""

    index: int
    offset: int
    length: int


def cut(size: int, part_bytes: int) -> list[Part]:
    """Return the parts of a blob of `size` bytes."""
    return [
        Part(index, offset, min(part_bytes, size - offset)) for index, offset in enumerate(range(0, size, part_bytes))
    ]


class ResumeMap:
    """Remembers, in a file beside the partial one, which parts were written, for a node that was stopped in between."""

    def __init__(self, partial: Path, size: int, part_bytes: int) -> None:
        self._path = partial.with_name(partial.name + ".map")
        self._partial = partial
        self._size = size
        self._part_bytes = part_bytes

    def load(self) -> set[int]:
        """Return the indices of the parts that are there; none if the files are missing, torn or of another cut."""
        try:
            value = decode(self._path.read_bytes(), _MAP_LIMITS)
            complete = self._partial.stat().st_size == self._size
        except (OSError, RemoteProtocolError):
            return set()
        match value:
            case {"size": self._size, "part_bytes": self._part_bytes, "done": bytes(done)} if complete:
                return {index for index in range(-(-self._size // self._part_bytes)) if _bit(done, index)}
        return set()

    def save(self, done: set[int]) -> None:
        """Record that the parts in `done` were written. Raises OSError."""
        bits = bytearray(-(-max(done, default=0) // 8) + 1)
        for index in done:
            bits[index // 8] |= 1 << index % 8
        temporary = self._path.with_name(self._path.name + ".new")
        temporary.write_bytes(encode({"size": self._size, "part_bytes": self._part_bytes, "done": bytes(bits)}))
        os.replace(temporary, self._path)

    def remove(self) -> None:
        """Forget everything."""
        self._path.unlink(missing_ok=True)


def _bit(bits: bytes, index: int) -> bool:
    return index // 8 < len(bits) and bool(bits[index // 8] >> index % 8 & 1)


@dataclass
class Plan:
    """Which part each peer should fetch next. Time is an argument, in seconds.

    A part that has been under way for `straggle` seconds is given to a second, idle peer as well: one slow peer does not hold
    up a whole blob.
    """

    parts: list[Part]
    done: set[int]
    straggle: float = 2.0
    sources: dict[int, str] = field(default_factory=dict)
    _taken: dict[int, list[tuple[str, float]]] = field(default_factory=dict)

    def missing(self) -> Iterator[Part]:
        """Yield the parts that are not there."""
        return (part for part in self.parts if part.index not in self.done)

    @property
    def complete(self) -> bool:
        """Whether all parts are there."""
        return len(self.done) == len(self.parts)

    def take(self, peer: str, now: float) -> Part | None:
        """Return the next part for `peer`, or None if there is nothing for it to do now."""
        slow: Part | None = None
        for part in self.missing():
            takers = self._taken.get(part.index, [])
            if not takers:
                slow = part
                break
            if slow is None and len(takers) == 1 and takers[0][0] != peer and now - takers[0][1] >= self.straggle:
                slow = part
        if slow is not None:
            self._taken.setdefault(slow.index, []).append((peer, now))
        return slow

    def give_back(self, part: Part, peer: str) -> None:
        """`peer` did not deliver `part`."""
        self._taken[part.index] = [taker for taker in self._taken.get(part.index, []) if taker[0] != peer]

    def finish(self, part: Part, peer: str) -> bool:
        """`peer` delivered `part`; False if another peer was first."""
        self.give_back(part, peer)
        if part.index in self.done:
            return False
        self.done.add(part.index)
        self.sources[part.index] = peer
        return True
