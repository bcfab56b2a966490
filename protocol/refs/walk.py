"""Sets of commits: what is reachable, what two lines share, and a range in the order in which it is shown."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable

from .graph import Graph
from .revision import Range, Revision, parse, resolve


def ancestors(graph: Graph, tips: Iterable[bytes]) -> set[bytes]:
    """Return the tips and all their ancestors that are here. A parent that was never fetched ends the walk there."""
    found: set[bytes] = set()
    waiting = list(tips)
    while waiting:
        commit = waiting.pop()
        if commit in found:
            continue
        try:
            parents = graph.parents(commit)
        except KeyError:
            continue
        found.add(commit)
        waiting.extend(parents)
    return found


def merge_bases(graph: Graph, one: bytes, other: bytes) -> list[bytes]:
    """Return the best common ancestors, in order of id: those that no other common ancestor descends from."""
    common = ancestors(graph, [one]) & ancestors(graph, [other])
    # Whatever lies between two common ancestors is one itself: so a worse one is the parent of one.
    worse = {parent for commit in common for parent in graph.parents(commit)}
    return sorted(common - worse)


def history(graph: Graph, include: Collection[bytes], exclude: Collection[bytes] = ()) -> list[bytes]:
    """Return what `include` reaches and `exclude` does not: no commit before its children, else the newest round first."""
    chosen = ancestors(graph, include) - ancestors(graph, exclude)
    children = dict.fromkeys(chosen, 0)
    for commit in chosen:
        for parent in set(graph.parents(commit)) & chosen:
            children[parent] += 1
    ready = [(-graph.round(commit), commit) for commit in chosen if not children[commit]]
    heapq.heapify(ready)
    ordered: list[bytes] = []
    while ready:
        _, commit = heapq.heappop(ready)
        ordered.append(commit)
        for parent in set(graph.parents(commit)) & chosen:
            children[parent] -= 1
            if not children[parent]:
                heapq.heappush(ready, (-graph.round(parent), parent))
    return ordered


def select(graph: Graph, expression: str | Revision | Range) -> list[bytes]:
    """Return the commits that a revision (with all its ancestors) or a range stands for, newest first. Raises RefError."""
    meant = parse(expression) if isinstance(expression, str) else expression
    if isinstance(meant, Revision):
        return history(graph, [resolve(graph, meant)])
    left, right = resolve(graph, meant.left), resolve(graph, meant.right)
    if meant.symmetric:
        return history(graph, [left, right], merge_bases(graph, left, right))
    return history(graph, [right], [left])
