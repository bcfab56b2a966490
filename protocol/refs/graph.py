"""What this package has to know of a history: a handful of questions, answered by the store or, in tests, by a dictionary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Graph(Protocol):
    """Commits, by their 32-byte ids, and the refs that point at them."""

    def parents(self, commit: bytes) -> Sequence[bytes]:
        """Return a commit's parents, in order; () for a root. Raises KeyError if it is not here."""
        ...

    def round(self, commit: bytes) -> int:
        """Return the round of a commit that is here."""
        ...

    def with_prefix(self, prefix: str) -> Sequence[bytes]:
        """Return the commits whose id in lower-case hex starts with `prefix`."""
        ...

    def ref(self, name: str) -> bytes | None:
        """Return what the ref of this full name (`heads/main`) points at, None if there is none."""
        ...

    def at_round(self, round: int) -> bytes | None:
        """Return the main branch's commit of a round, None if it has none."""
        ...
