"""Histories as dictionaries, drawn at random, and a second opinion on what is reachable in them."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import strategies as st

from collab.protocol.record import sha256


@dataclass
class DictGraph:
    """Implements `protocol.refs.Graph`. Commits are numbered; a commit's parents have smaller numbers."""

    links: list[tuple[int, ...]]
    refs: dict[str, bytes] = field(default_factory=dict)
    ids: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ids = self.ids or [sha256(str(number).encode()) for number in range(len(self.links))]
        self.numbers = {commit: number for number, commit in enumerate(self.ids)}
        self.rounds: list[int] = []
        for parents in self.links:
            self.rounds.append(self.rounds[parents[0]] + 1 if parents else 0)
        if self.links:
            self.refs.setdefault("heads/main", self.ids[-1])

    def parents(self, commit: bytes) -> tuple[bytes, ...]:
        return tuple(self.ids[parent] for parent in self.links[self.numbers[commit]])

    def round(self, commit: bytes) -> int:
        return self.rounds[self.numbers[commit]]

    def with_prefix(self, prefix: str) -> list[bytes]:
        return [commit for commit in self.ids if commit.hex().startswith(prefix)]

    def ref(self, name: str) -> bytes | None:
        return self.refs.get(name)

    def at_round(self, round: int) -> bytes | None:
        at = self.refs["heads/main"]
        while self.round(at) != round:
            if not self.parents(at):
                return None
            at = self.parents(at)[0]
        return at

    def reach(self) -> list[set[int]]:
        """By number, all ancestors and the commit itself: by the definition, in the order of the numbers."""
        found: list[set[int]] = []
        for number, parents in enumerate(self.links):
            found.append({number}.union(*(found[parent] for parent in parents)))
        return found


@st.composite
def graphs(draw: st.DrawFn, most: int = 14) -> DictGraph:
    """Commits with none to two distinct parents."""
    count = draw(st.integers(1, most))
    links: list[tuple[int, ...]] = []
    for number in range(count):
        earlier = st.integers(0, number - 1) if number else st.nothing()
        parents = st.lists(earlier, max_size=2, unique=True) if number else st.just([])
        links.append(tuple(draw(parents)))
    return DictGraph(links)
