"""Names that volunteers choose to be shown by: a label beside a peer id, never in place of it.

Two peers may choose the same name; what counts is the peer id. A name is short, one line, and holds letters, digits, spaces and
`-_.` of any script, so that it can neither pretend to be markup nor turn the text around it.
"""

from __future__ import annotations

import unicodedata
from typing import Annotated

from pydantic import AfterValidator, Field

MAX_LETTERS = 32
_MARKS_IN_A_ROW = 3  # Bengali writes up to three vowel and consonant signs on one letter
_PUNCTUATION = frozenset(" -_.")


def check_name(text: str) -> str:
    """Return `text` if it can be a name (empty: none was chosen). Raises ValueError that says why not."""
    if len(text) > MAX_LETTERS:
        raise ValueError(f"a name has at most {MAX_LETTERS} letters")
    if text != " ".join(text.split(" ")).strip() or "  " in text or text != unicodedata.normalize("NFC", text):
        raise ValueError("a name has single spaces, none at its ends, and composed letters (Unicode NFC)")
    marks = _MARKS_IN_A_ROW  # so that a name does not begin with one
    for letter in text:
        category = unicodedata.category(letter)
        marks = marks + 1 if category in ("Mn", "Mc") else 0
        if marks > _MARKS_IN_A_ROW or (not marks and category[0] not in "LN" and letter not in _PUNCTUATION):
            raise ValueError(f"a name has letters, digits, spaces and -_. of any script, not {letter!r}")
    return text


Name = Annotated[str, Field(max_length=4 * MAX_LETTERS), AfterValidator(check_name)]
