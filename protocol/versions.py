"""Versions that say what changed: patch, minor or major, computed from evidence and never from taste.

- *patch*: the same architecture and interface, only a small part of the parameters changed, and no task got significantly worse.
- *minor*: the architecture grew, something was added to the interface, or the model learned a task that the last release had not
  promised; most parameters are as they were, and no task got significantly worse.
- *major*: anything else.

What a release was tested on and did not fail it promises: a task that nobody measured again counts as lost, like one that got
worse. So a task that is new to a release is a step up for once, and a duty from then on.

A maintainer may raise what is computed, never lower it. Precedence is Semantic Versioning's (https://semver.org, 2.0.0), of which
releases use the three numbers alone. Everything here is a function of its arguments.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from .errors import LocalProtocolError
from .gates import GateName
from .record import Digest, Record, later
from .verdict import Measurement

SMALL_SHARE = 0.1
"""Of the parameters, at most this much changes in a patch."""
MOST_SHARE = 0.5
"""Of the last release's parameters, more than this much is unchanged in a minor version."""
_NUMBER = "(0|[1-9][0-9]{0,8})"
_VERSION = re.compile(rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}")

Shapes = Mapping[str, Sequence[int]]
Word = Annotated[str, Field(min_length=1, max_length=128)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Relation = Literal["same", "grew", "other"]
Tasks = Annotated[tuple[GateName, ...], Field(max_length=256)]


class Bump(IntEnum):
    """Which number goes up; the larger, the more a user has to look at."""

    PATCH = 0
    MINOR = 1
    MAJOR = 2


class Version(NamedTuple):
    """Three numbers, compared one after the other."""

    major: int
    minor: int
    patch: int

    @classmethod
    def parse(cls, text: str) -> Version:
        """Return the version that a text such as `1.4.0` is, with or without a `v`. Raises LocalProtocolError."""
        found = _VERSION.fullmatch(text.removeprefix("v"))
        if found is None:
            raise LocalProtocolError(f"{text[:40]!r} is no version: three numbers such as 1.4.0")
        return cls(*map(int, found.groups()))

    def bumped(self, bump: Bump) -> Version:
        """Return the next version of a kind."""
        if bump is Bump.MAJOR:
            return Version(self.major + 1, 0, 0)
        return Version(self.major, self.minor + 1, 0) if bump is Bump.MINOR else Version(self.major, self.minor, self.patch + 1)

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


FIRST = Version(1, 0, 0)
"""What the first release is, with nothing before it to be compared with."""


class Interface(Record):
    """What a user's code relies on: the tokenizer (its hash), the names of what goes in and of what comes out."""

    tokenizer: Digest
    inputs: Annotated[tuple[Word, ...], Field(max_length=256)]
    outputs: Annotated[tuple[Word, ...], Field(max_length=256)]

    def relation(self, later: Interface) -> Relation:
        """Say what became of this interface: all that was there stays in "same" and "grew"."""
        pairs = [(set(self.inputs), set(later.inputs)), (set(self.outputs), set(later.outputs))]
        if self.tokenizer != later.tokenizer or not all(before <= now for before, now in pairs):
            return "other"
        return "same" if all(before == now for before, now in pairs) else "grew"


def architecture_relation(before: Shapes, later: Shapes) -> Relation:
    """Say what became of the tensors' names and shapes: "grew" if each is still there, of as many dimensions and no smaller."""
    if {name: tuple(shape) for name, shape in before.items()} == {name: tuple(shape) for name, shape in later.items()}:
        return "same"
    stays = all(name in later and _holds(later[name], shape) for name, shape in before.items())
    return "grew" if stays else "other"


def _holds(later: Sequence[int], before: Sequence[int]) -> bool:
    return len(later) == len(before) and all(now >= then for now, then in zip(later, before, strict=True))


class Evidence(Record):
    """What a release was computed from, compared with the release before it.

    `changed` is the share of the last release's parameters whose bits differ or that are gone; `tasks` are the gates'
    measurements against it; `promised` are the tasks of the last release, by the names of their gates.
    """

    architecture: Relation
    interface: Relation
    changed: Share
    tasks: Annotated[tuple[Measurement, ...], Field(max_length=256)] = ()
    promised: Tasks = later(())

    @property
    def worse(self) -> tuple[str, ...]:
        """The tasks that got significantly worse, by the names of their gates."""
        return tuple(task.gate for task in self.tasks if not task.passed and task.reason != "unclear")

    @property
    def lost(self) -> tuple[str, ...]:
        """The tasks that the last release promised and that were not measured again."""
        return tuple(sorted(set(self.promised) - {task.gate for task in self.tasks}))

    @property
    def learned(self) -> tuple[str, ...]:
        """The tasks that the last release did not promise, and that this one is significantly better at than it, by more than
        the gate's tolerance."""
        return tuple(task.gate for task in self.tasks if task.gate not in self.promised and task.clearly_better)

    @property
    def promises(self) -> tuple[str, ...]:
        """The tasks that the new release was tested on and did not get worse at."""
        return tuple(sorted({task.gate for task in self.tasks} - set(self.worse)))

    def bump(self) -> Bump:
        """Return which number must go up at least."""
        if self.worse or self.lost or "other" in (self.architecture, self.interface):
            return Bump.MAJOR
        if self.learned or "grew" in (self.architecture, self.interface):
            return Bump.MINOR if 1 - self.changed > MOST_SHARE else Bump.MAJOR
        return Bump.PATCH if self.changed <= SMALL_SHARE else Bump.MAJOR

    def reason(self) -> str:
        """Say in a sentence why it is that bump."""
        if self.worse:
            return f"{', '.join(self.worse)} got significantly worse"
        if self.lost:
            return f"{', '.join(self.lost)} was not tested again"
        for what, relation in (("the architecture", self.architecture), ("the interface", self.interface)):
            if relation == "other":
                return f"{what} is another one"
        changed = f"{100 * self.changed:.3g}% of the parameters changed"
        relations = {"architecture": self.architecture, "interface": self.interface}
        more = [f"the {what} grew" for what, relation in relations.items() if relation == "grew"]
        more += [f"it learned {', '.join(self.learned)}"] if self.learned else []
        return f"{' and '.join(more)} and {changed}" if more else f"{changed}, and nothing got significantly worse"


def next_version(last: Version | None, evidence: Evidence, wanted: Version | None = None) -> Version:
    """Return the version of the release after `last`: the computed one, or the higher one that a maintainer wants.

    Raises LocalProtocolError for one that is lower than the evidence allows, or that is not a successor of `last`.
    """
    if last is None:
        return wanted or FIRST
    computed = evidence.bump()
    if wanted is None:
        return last.bumped(computed)
    if wanted < last.bumped(computed):
        raise LocalProtocolError(f"{wanted} is too low: {evidence.reason()}, so it is at least {last.bumped(computed)}")
    allowed = [last.bumped(bump) for bump in Bump if bump >= computed]
    if wanted not in allowed:
        raise LocalProtocolError(f"{wanted} does not follow {last}: it is one of {', '.join(map(str, allowed))}")
    return wanted
