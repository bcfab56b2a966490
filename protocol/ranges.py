"""Version ranges as npm writes them: `^1.2`, `~1.4.0`, `1.x`, `>=1.2 <2 || 3.x`; a comma means "and", as Cargo has it.

Grammar and meaning: https://github.com/npm/node-semver#ranges, by `semantic_version`. Versions are three numbers here.
"""

from __future__ import annotations

import re
from typing import Self

from semantic_version import NpmSpec
from semantic_version import Version as SemanticVersion

from .errors import LocalProtocolError
from .versions import Version

MAX_RANGE = 128
_LETTERS = re.compile(r"[0-9xX*.^~<>=| -]*")
_GAPS = re.compile(r"(?<=[<>=~^])\s+")
_NUMBERS = re.compile(r"[0-9]{10,}")


class Range:
    """A set of versions. `text` is how it was written; two are equal if they were written alike."""

    def __init__(self, text: str, spec: NpmSpec) -> None:
        self.text = text
        self._spec = spec

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the range that `text` says; of "" every version is a part. Raises LocalProtocolError."""
        plain = " ".join(text.replace(",", " ").split())
        if len(text) > MAX_RANGE or not _LETTERS.fullmatch(plain) or _NUMBERS.search(plain):
            raise LocalProtocolError(f"{text[:40]!r} is no range of versions, such as ^1.2 or >=1.2,<2")
        try:
            return cls(text.strip() or "*", NpmSpec(_GAPS.sub("", plain) or "*"))
        except ValueError as error:
            raise LocalProtocolError(f"{text[:40]!r} is no range of versions, such as ^1.2 or >=1.2,<2") from error

    def __contains__(self, version: Version) -> bool:
        return bool(self._spec.match(SemanticVersion(str(version))))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Range) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __str__(self) -> str:
        return self.text
