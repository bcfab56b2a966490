"""What became of a module when the base that it was made for got a new version.

A module's *gain*, by one of its own gates, is how much better the base with it is than the base alone, in the gate's unit. A new
base may keep of that gain all, a part, more than all, or none.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from .record import Digest, Finite, Record, Word
from .verdict import Measurement

MAX_DEPENDENTS = 256


class Gain(Record):
    """By one gate: the module's gain on the old base and on the new one, and the new base with it against the old one with it.

    A gain is None where a measure was not a number.
    """

    before: Finite | None
    after: Finite | None
    compared: Measurement

    @property
    def kept(self) -> float | None:
        """Which share of the gain is kept; None if there was none to keep."""
        return None if self.before is None or self.after is None or self.before <= 0 else self.after / self.before

    def sentence(self) -> str:
        """Return it for people."""
        share = "no gain to keep" if self.kept is None else f"{self.kept:.0%} of its gain kept"
        return f"{share}; {self.compared.sentence()}"


class Dependent(Record):
    """A module (`package` is the hash of its signed record) and what its gates showed, or why they could not be run."""

    module: Word
    version: Annotated[str, Field(max_length=32)]
    package: Digest
    gains: Annotated[tuple[Gain, ...], Field(max_length=32)] = ()
    problem: Annotated[str, Field(max_length=300)] = ""

    @property
    def failed(self) -> list[str]:
        """The gates by which the new base with the module is worse than the old one with it."""
        return [gain.compared.gate for gain in self.gains if not gain.compared.passed]

    def lines(self) -> list[str]:
        """Return a line a gate, or one that says why there is none."""
        name = f"{self.module} {self.version}"
        return [f"{name}: {gain.sentence()}" for gain in self.gains] or [f"{name}: not tested, {self.problem}"]
