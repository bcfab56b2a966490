"""What became of a module when the base that it was made for got a new version.

A module's *gain*, by one of its own gates, is how much better the base with it is than the base alone, in the gate's unit. A new
base may keep of that gain all, a part, more than all, or none.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from .record import Digest, Finite, Record, Word, later
from .verdict import Measurement

MAX_DEPENDENTS = 256


class Measures(Record):
    """A gate's measure of the old base and of the new one, each without and with the module; None: it was not a number."""

    older: Finite | None
    older_with: Finite | None
    newer: Finite | None
    newer_with: Finite | None

    def sentence(self) -> str:
        """Return them for people."""
        older, older_with, newer, newer_with = map(_number, (self.older, self.older_with, self.newer, self.newer_with))
        return f"without and with it {older} and {older_with} before, {newer} and {newer_with} now"


class Gain(Record):
    """By one gate: the module's gain on the old base and on the new one, and the new base with it against the old one with it.

    A gain is None where a measure was not a number. Records from before there were `measures` have none.
    """

    before: Finite | None
    after: Finite | None
    compared: Measurement
    measures: Measures | None = later(None)

    @property
    def kept(self) -> float | None:
        """Which share of the gain is kept; None if there was none to keep."""
        return None if self.before is None or self.after is None or self.before <= 0 else self.after / self.before

    def sentence(self) -> str:
        """Return it for people."""
        share = "no gain to keep" if self.kept is None else f"{self.kept:.0%} of its gain kept"
        more = f"; {self.measures.sentence()}" if self.measures is not None else ""
        return f"{share}; {self.compared.sentence()}{more}"


class Dependent(Record):
    """A module (`package` is the hash of its signed record) and what its gates showed, or why they could not be run.

    `kind` is the module's. Not `fits`: it cannot be put into the new base, and `problem` says why.
    """

    module: Word
    version: Annotated[str, Field(max_length=32)]
    package: Digest
    gains: Annotated[tuple[Gain, ...], Field(max_length=32)] = ()
    problem: Annotated[str, Field(max_length=300)] = ""
    kind: Word | None = later(None)
    fits: bool = later(True)

    @property
    def worse(self) -> list[str]:
        """The gates by which the new base with the module is worse than the old one with it."""
        return [gain.compared.gate for gain in self.gains if not gain.compared.passed]

    @property
    def failed(self) -> bool:
        """Whether the new base has no place for the module, or made it worse."""
        return not self.fits or bool(self.worse)

    def lines(self) -> list[str]:
        """Return a line a gate, or one that says why there is none."""
        name = f"{self.module} {self.version}" + (f" ({self.kind})" if self.kind else "")
        why = f"not tested, {self.problem}" if self.fits else f"does not fit, {self.problem}"
        return [f"{name}: {gain.sentence()}" for gain in self.gains] or [f"{name}: {why}"]


def _number(value: float | None) -> str:
    return "not a number" if value is None else f"{value:.4g}"
