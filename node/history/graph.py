"""A store's commits and refs as the graph that `protocol.refs` asks for."""

from __future__ import annotations

from ..store import Store


class StoreGraph:
    """Implements `protocol.refs.Graph`. Who descends from whom is read at once, when it is first asked."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._links: dict[bytes, tuple[int, tuple[bytes, ...]]] = {}

    def _link(self, commit: bytes) -> tuple[int, tuple[bytes, ...]]:
        if commit not in self._links and self._store.has_commit(commit):  # the first, or one that a running node added
            self._links = self._store.links()
        return self._links[commit]

    def parents(self, commit: bytes) -> tuple[bytes, ...]:
        """See Graph."""
        return self._link(commit)[1]

    def round(self, commit: bytes) -> int:
        """See Graph."""
        return self._link(commit)[0]

    def with_prefix(self, prefix: str) -> list[bytes]:
        """See Graph."""
        return self._store.with_prefix(prefix)

    def ref(self, name: str) -> bytes | None:
        """See Graph."""
        return self._store.refs.get(name)

    def at_round(self, round: int) -> bytes | None:
        """See Graph."""
        return self._store.at_round(round)
