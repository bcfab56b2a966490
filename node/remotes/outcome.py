"""What a fetch or a push came to, name by name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from ..units import bytes_text, printable, short
from .material import Brought

What = Literal["new", "moved", "forced", "same", "kept", "deleted", "refused"]
_MARKS = {"new": "*", "moved": " ", "forced": "+", "same": "=", "kept": "=", "deleted": "-", "refused": "!"}


@dataclass(frozen=True)
class Outcome:
    """`name` over there and `to` here (for a push: the other way round), from `old` to `new`; `why` for people."""

    name: str
    to: str
    what: What
    old: bytes | None = None
    new: bytes | None = None
    why: str = ""

    def line(self) -> str:
        """Return it as `git fetch` would."""
        names = self.name if self.name == self.to else f"{self.name} -> {self.to}"
        moved = f" {short(self.old)}..{short(self.new)}" if self.old and self.new and self.what in ("moved", "forced") else ""
        return printable(f" {_MARKS[self.what]} [{self.what}]{moved} {names}" + (f" ({self.why})" if self.why else ""))

    def fields(self) -> dict[str, Any]:
        """Return it as plain values, digests in hex."""
        digests = {name: digest.hex() if digest else None for name, digest in (("old", self.old), ("new", self.new))}
        return {"name": self.name, "to": self.to, "what": self.what, **digests, "why": self.why}

    @classmethod
    def read(cls, fields: dict[str, Any]) -> Outcome:
        """Return what `fields` gave."""
        digests = {name: bytes.fromhex(fields[name]) if fields[name] else None for name in ("old", "new")}
        return cls(fields["name"], fields["to"], fields["what"], **digests, why=fields["why"])


@dataclass(frozen=True)
class Report:
    """All outcomes, and what came (for a push: nothing is told of what went)."""

    where: str
    outcomes: list[Outcome]
    brought: Brought = field(default_factory=Brought)

    @property
    def refused(self) -> bool:
        """Whether a name did not move as it was asked to."""
        return any(outcome.what == "refused" for outcome in self.outcomes)

    def lines(self) -> list[str]:
        """Return what the command line prints; what stayed the same is left out."""
        told = [outcome.line() for outcome in self.outcomes if outcome.what != "same"]
        came = f"{self.brought.commits} commits, {self.brought.blobs} blobs, {bytes_text(self.brought.bytes)}"
        size = [f"   {came}"] if self.brought.commits or self.brought.blobs else []
        return [f"{self.where}:", *size, *told] if told or size else [f"{self.where}: everything up to date"]

    def fields(self) -> dict[str, Any]:
        """Return it as plain values."""
        brought = {"commits": self.brought.commits, "blobs": self.brought.blobs, "bytes": self.brought.bytes}
        return {"where": self.where, **brought, "refs": [outcome.fields() for outcome in self.outcomes]}

    @classmethod
    def read(cls, fields: dict[str, Any]) -> Report:
        """Return what `fields` gave."""
        brought = Brought(fields["commits"], fields["blobs"], fields["bytes"])
        return cls(fields["where"], [Outcome.read(each) for each in fields["refs"]], brought)
