"""Revisions and ranges, as gitrevisions(7) has them.

    revision:  NAME | ID | PREFIX | HEAD | @ | @ROUND, then any of  ~[N]  ^[N]  ^{}  ^{commit}
    range:     A..B (what B has and A has not)   A...B (what only one of them has); a side left out is HEAD

A name is looked up as git does: as it stands, then under tags/, heads/, remotes/; only then is it taken for the beginning of an
id, of four digits at least. A whole id is always an id. `@12` is the main branch's commit of round 12.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .errors import RefError
from .graph import Graph
from .names import HEAD, MAIN

MIN_PREFIX = 4
_ID_DIGITS = 64
_MAX_STEPS = 1 << 40
_CANDIDATES = 4

_RANGE = re.compile(r"(?s)((?:(?!\.\.).)*)(\.\.\.?)(?!\.)(.*)")
_STEP = re.compile(r"\^\{(?:commit)?\}|([~^])([0-9]*)")
_HEX = re.compile(r"[0-9a-fA-F]+")
_ROUND = re.compile(r"@([0-9]{1,12})")


@dataclass(frozen=True)
class Step:
    """One step from a commit to an older one: `parent` is which parent, `times` how often. parent 0 stays where it is."""

    parent: int
    times: int


@dataclass(frozen=True)
class Revision:
    """One commit, as it was spoken of: where to begin, and the steps from there."""

    text: str
    start: str
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True)
class Range:
    """`left..right`, or `left...right` if `symmetric`."""

    left: Revision
    right: Revision
    symmetric: bool = False


def parse(text: str) -> Revision | Range:
    """Return what `text` says, not looked up yet. Raises RefError."""
    found = _RANGE.fullmatch(text)
    if found is None:
        return parse_revision(text)
    left, dots, right = found.groups()
    if not left and not right:
        raise RefError(f"{text!r} has neither end")
    return Range(parse_revision(left or HEAD), parse_revision(right or HEAD), symmetric=dots == "...")


def parse_revision(text: str) -> Revision:
    """Return the revision that `text` says, not looked up yet. Raises RefError; for a range too."""
    if _RANGE.fullmatch(text):
        raise RefError(f"{text!r} is a range; one commit is meant here")
    start = re.split(r"[~^]", text, maxsplit=1)[0]
    if not start:
        raise RefError(f"{text!r} does not begin with a commit" if text else "an empty revision")
    steps: list[Step] = []
    at = len(start)
    while at < len(text):
        found = _STEP.match(text, at)
        if found is None:
            raise RefError(f"{text!r} cannot be read from {text[at:]!r} on: after a commit come ~N, ^N or ^{{}}")
        steps += _step(found)
        at = found.end()
    return Revision(text, start, tuple(steps))


def _step(found: re.Match[str]) -> list[Step]:
    sign, digits = found.groups()
    number = min(int(digits[:16]), _MAX_STEPS) if digits else 1
    if sign is None:
        return []
    return [Step(parent=1, times=number)] if sign == "~" else [Step(parent=number, times=1)]


def resolve(graph: Graph, revision: Revision | str) -> bytes:
    """Return the id of the commit that is meant. Raises RefError, one line, for none and for more than one."""
    if isinstance(revision, str):
        revision = parse_revision(revision)
    commit = _start(graph, revision.start)
    for step in revision.steps:
        commit = _walk(graph, revision, commit, step)
    return commit


def _walk(graph: Graph, revision: Revision, commit: bytes, step: Step) -> bytes:
    if step.parent == 0:
        return commit
    for _ in range(step.times):
        parents = graph.parents(commit)
        if len(parents) < step.parent:
            had = "is the root" if not parents else f"has {len(parents)} parent" + ("s" if len(parents) > 1 else "")
            raise RefError(f"there is no {revision.text}: {commit.hex()[:12]} (round {graph.round(commit)}) {had}")
        commit = parents[step.parent - 1]
        if not _known(graph, commit):
            raise RefError(f"there is no {revision.text} here: commit {commit.hex()[:12]} was never fetched")
    return commit


def _known(graph: Graph, commit: bytes) -> bool:
    try:
        graph.parents(commit)
    except KeyError:
        return False
    return True


def _start(graph: Graph, start: str) -> bytes:
    if len(start) == _ID_DIGITS and _HEX.fullmatch(start):
        commit = bytes.fromhex(start)
        if not _known(graph, commit):
            raise RefError(f"there is no commit {start[:12]}… here")
        return commit
    if start in (HEAD, "@"):
        start = MAIN
    if (at := _ROUND.fullmatch(start)) is not None:
        return _of_round(graph, int(at.group(1)))
    for name in _meanings(start):
        if (found := graph.ref(name)) is not None:
            return found
    return _of_prefix(graph, start)


def _meanings(start: str) -> list[str]:
    plain = start.removeprefix("refs/")
    return [plain, f"tags/{plain}", f"heads/{plain}", f"remotes/{plain}"]


def _of_round(graph: Graph, round: int) -> bytes:
    commit = graph.at_round(round)
    if commit is None:
        raise RefError(f"the main branch has no commit of round {round}")
    return commit


def _of_prefix(graph: Graph, start: str) -> bytes:
    hexadecimal = bool(_HEX.fullmatch(start)) and len(start) < _ID_DIGITS
    if not hexadecimal or len(start) < MIN_PREFIX:
        short = f" (the beginning of an id has at least {MIN_PREFIX} digits)" if hexadecimal else ""
        raise RefError(f"there is no branch, tag or commit {start[:60]!r}{short}")
    found = sorted(graph.with_prefix(start.lower()))
    if not found:
        raise RefError(f"there is no branch or tag {start!r}, and no commit whose id begins so")
    if len(found) > 1:
        listed = ", ".join(f"{commit.hex()[:16]} (round {graph.round(commit)})" for commit in found[:_CANDIDATES])
        more = f" and {len(found) - _CANDIDATES} more" if len(found) > _CANDIDATES else ""
        raise RefError(f"{start!r} is the beginning of {len(found)} ids: {listed}{more}")
    return found[0]
