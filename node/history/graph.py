"""A store's commits and refs as the graph that `protocol.refs` asks for."""

from __future__ import annotations

from ..store import Store


class StoreGraph:
    """Implements `protocol.refs.Graph`, with who descends from whom read at once: a question then costs no query."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._links = store.links()

    def _link(self, commit: bytes) -> tuple[int, tuple[bytes, ...]]:
        if commit not in self._links and self._store.has_commit(commit):
            self._links = self._store.links()  # a running node adds commits
        return self._links[commit]

    def parents(self, commit: bytes) -> tuple[bytes, ...]:
        """See Graph."""
        return self._link(commit)[1]

    def round(self, commit: bytes) -> int:
        """See Graph."""
        return self._link(commit)[0]

    def with_prefix(self, prefix: str) -> list[bytes]:
        """See Graph."""
        return [commit for commit in self._links if commit.hex().startswith(prefix)]

    def ref(self, name: str) -> bytes | None:
        """See Graph."""
        return self._store.refs.get(name)

    def at_round(self, round: int) -> bytes | None:
        """See Graph."""
        return self._store.at_round(round)
