"""Graphs in characters."""

from __future__ import annotations

import pytest
from history.graphs import DictGraph, graphs
from hypothesis import given

from collab.node.history.draw import draw
from collab.protocol.refs import history


def drawn(graph: DictGraph, order: list[bytes] | None = None) -> list[str]:
    listed = order or history(graph, graph.ids)
    found = []
    for row in draw((commit, graph.parents(commit)) for commit in listed):
        found += [f"{row.head} {graph.numbers[row.commit]}", *row.joints]
    return found


@pytest.mark.parametrize(
    ("links", "picture"),
    [
        ([(), (0,), (1,)], ["* 2", "* 1", "* 0"]),
        ([(), (0,), (0,)], None),
        (
            [(), (0,), (1,), (1,), (2, 3), (4,)],
            ["* 5", "* 4", "|\\", "| * 3", "* | 2", "|/", "* 1", "* 0"],
        ),
    ],
)
def test_small_graphs(links: list[tuple[int, ...]], picture: list[str] | None) -> None:
    graph = DictGraph(links)
    if picture is None:  # two tips: whichever id is smaller comes first
        assert drawn(graph, [graph.ids[2], graph.ids[1], graph.ids[0]]) == ["* 2", "| * 1", "|/", "* 0"]
    else:
        numbered = drawn(graph, [graph.ids[number] for number in (5, 4, 3, 2, 1, 0)] if len(links) == 6 else None)
        assert numbered == picture


def test_lanes_cross_and_shift() -> None:
    graph = DictGraph([(), (0,), (0,), (0,), (0,), (1,), (2,), (3,), (4,)])
    assert drawn(graph, graph.ids[::-1]) == [
        "* 8", "| * 7", "| | * 6", "| | | * 5", "* | | | 4", "| * | | 3", "|/ / /", "| * | 2", "|/ /", "| * 1", "|/", "* 0",
    ]  # fmt: skip


@given(graphs())
def test_every_commit_has_one_star_in_the_lane_that_waited_for_it(graph: DictGraph) -> None:
    open_lanes = 0
    waiting: set[bytes] = set()
    for row in draw((commit, graph.parents(commit)) for commit in history(graph, graph.ids)):
        assert row.head.count("*") == 1
        assert set(row.head) <= set("*| ")
        opens = row.commit not in waiting
        assert len(row.head.split()) == open_lanes + opens
        waiting = (waiting - {row.commit}) | set(graph.parents(row.commit))
        open_lanes = len(waiting)
        assert all(set(joint) <= set("|/\\_ ") for joint in row.joints)
    assert not waiting
