"""The graph of commits in characters, as `git log --graph` draws it.

A lane is a column that waits for a commit. A commit takes the lane that waits for it, or opens one at the right; below it the
lane waits for its first parent. A second parent opens a lane beside it, and lanes that wait for the same commit become one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """What stands left of a commit: of its first line, of its further lines, and in lines of their own below it."""

    commit: bytes
    head: str
    body: str
    joints: tuple[str, ...]


def draw(commits: Iterable[tuple[bytes, Sequence[bytes]]]) -> Iterator[Row]:
    """Yield a row for each (commit, its parents that are shown), in an order in which no commit comes before its children."""
    lanes: list[bytes] = []
    for commit, parents in commits:
        if commit not in lanes:
            lanes.append(commit)
        at = lanes.index(commit)
        head = _line(["*" if lane == at else "|" for lane in range(len(lanes))])
        body = _line([" " if lane == at and not parents else "|" for lane in range(len(lanes))])
        joints: list[str] = []
        if not parents:
            joints += _end(lanes, at)
        else:
            joints += _branch_out(lanes, at, parents[1:])
            joints += _go_on(lanes, at, parents[0])
        yield Row(commit, head, body, tuple(joints))


def _end(lanes: list[bytes], at: int) -> list[str]:
    del lanes[at]
    return [] if at == len(lanes) else [_line(["|"] * at + [""], "", [" /"] * (len(lanes) - at))]


def _branch_out(lanes: list[bytes], at: int, others: Sequence[bytes]) -> list[str]:
    """Lead a line to each further parent: to the lane that waits for it already, else to a new one at the right."""
    joints = []
    for parent in others:
        if parent not in lanes:
            lanes.insert(at + 1, parent)
            joints.append(_line(["|"] * (at + 1), "\\", [" \\"] * (len(lanes) - at - 2)))
        elif (to := lanes.index(parent)) != at:
            joints.append(_across(len(lanes), at, to, "\\" if to > at else "/"))
    return joints


def _go_on(lanes: list[bytes], at: int, parent: bytes) -> list[str]:
    """Let the commit's lane wait for its first parent; if another lane does so, the right one of the two ends in the left."""
    if parent not in lanes:
        lanes[at] = parent
        return []
    other = lanes.index(parent)
    if other == at:
        return []
    left, right = sorted((at, other))
    lanes[left] = parent
    del lanes[right]
    cells = list(_across(right, right, left, "/").ljust(2 * right)) + [" /"] * (len(lanes) - right)
    return ["".join(cells).rstrip()]


def _across(count: int, start: int, to: int, mark: str) -> str:
    """Return a line of `count` lanes, with `mark` beside lane `start` and a dash along to lane `to`."""
    cells = list("| " * max(count, start + (mark == "\\")))
    step = 1 if to > start else -1
    for gap in range(2 * start + step, 2 * to, 2 * step):
        cells[gap] = "_"
    cells[2 * start + step] = mark
    return "".join(cells).rstrip()


def _line(cells: Sequence[str], mark: str = " ", after: Sequence[str] = ()) -> str:
    return (" ".join(cells) + mark + "".join(after)).rstrip()
