"""What a check of a history finds: what is wrong and where, and what to do about it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Severity = Literal["error", "note"]


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it has to be (`error`), or that is worth knowing (`note`).

    `kind` is a short stable word. `offset` is the first byte of the blob that differs, where that can be known, and `tensor` the
    tensor that it belongs to.
    """

    kind: str
    message: str
    hint: str = ""
    severity: Severity = "error"
    round: int | None = None
    commit: bytes | None = None
    blob: bytes | None = None
    tensor: str | None = None
    offset: int | None = None

    def fields(self) -> dict[str, Any]:
        """Return it as plain values; digests are in hex, what is unknown is left out."""
        found = {name: value.hex() if isinstance(value, bytes) else value for name, value in asdict(self).items()}
        return {name: value for name, value in found.items() if value not in (None, "")}

    def lines(self) -> list[str]:
        """Return what the command line prints of it."""
        return [f"{self.severity}: {self.message}", *([f"hint: {self.hint}"] if self.hint else [])]


class Broken(Exception):
    """A check found something wrong, and cannot go on past it."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.message)
        self.finding = finding
