"""From what pydantic says about an event's values to sentences about the lines that a coordinator wrote."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ...protocol.event import (
    Admission,
    AlbertModel,
    Compression,
    Data,
    EventDraft,
    GptModel,
    HuggingFaceModel,
    InnerOptimiser,
    Maintainers,
    Merge,
    OuterOptimiser,
    Rounds,
)
from ...protocol.gates import KINDS, CommandGate, ExactGate, HeadGate, LossGate
from ...protocol.record import Record
from .toml_lines import KeyPath

SECTIONS: dict[str, tuple[type[Record], ...]] = {
    "model": (GptModel, AlbertModel, HuggingFaceModel),
    "data": (Data,),
    "inner": (InnerOptimiser,),
    "compression": (Compression,),
    "outer": (OuterOptimiser,),
    "merge": (Merge,),
    "rounds": (Rounds,),
    "admission": (Admission,),
}
"""Section → the records that it may hold; `[model]` holds one of several, told apart by `family`."""

OPTIONAL_SECTIONS: dict[str, tuple[type[Record], ...]] = {"maintainers": (Maintainers,)}
"""Sections that an event may leave out."""

GATE_RECORDS: tuple[type[Record], ...] = (LossGate, ExactGate, HeadGate)
"""What a `[[gate]]` of an event may be, told apart by `kind`; there may be none, or many."""

_SENTENCES = {
    "extra_forbidden": "unknown key",
    "model_type": "must be a section",
    "model_attributes_type": "must be a section",
    "dict_type": "must be a section",
    "tuple_type": "must be a list",
    "string_pattern_mismatch": "must be lower-case letters, digits, '.', '_' or '-', and begin with a letter or digit",
    "union_tag_not_found": "is missing",
}
_OWN_COMMANDS = "'command' is for gates in a file of your own (`collab-node gate run --file FILE`): an event brings no code"
_LONGEST_SHOWN = 60


@dataclass(frozen=True)
class Problem:
    """One mistake: its line (0: the file as a whole), the key it is about, what is wrong, and what may have been meant."""

    line: int
    where: str
    message: str
    suggestion: str = ""

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}" if self.where else self.message
        return f"{text}; did you mean {self.suggestion!r}?" if self.suggestion else text


def explain(error: ValidationError, family: object, lines: Mapping[KeyPath, int], last_line: int) -> list[Problem]:
    """Return one problem a place. `family` is what the event gives as `model.family`; `lines` says where its keys stand.

    What is missing stands on its section's line, and a missing section on the last line.
    """
    problems: dict[KeyPath, Problem] = {}
    for detail in error.errors(include_url=False):
        path, message = _path(detail, family), _message(detail)
        if path not in problems:  # a value of no type of a union fails once for each
            line = line_of(path, lines) or (1 if path == ("name",) else last_line)
            where = dotted(path)
            problems[path] = Problem(line, where, _after_key(message, path), _suggestion(detail, path, family))
    return list(problems.values())


def line_of(path: KeyPath, lines: Mapping[KeyPath, int]) -> int:
    """Return the line of `path`, or of the nearest table around it; 0 if the file has neither."""
    return next((lines[path[:end]] for end in range(len(path), 0, -1) if path[:end] in lines), 0)


def dotted(path: KeyPath) -> str:
    """Return a path as people write it: `inner.betas[0]`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def known_keys(section: str, family: object = None) -> list[str]:
    """Return the keys of a section ("" for the file's top level).

    For `model` and `gate`, those of `family` (a gate's kind) alone if there is such a one.
    """
    if not section:
        return list(EventDraft.model_fields)
    records = (SECTIONS | OPTIONAL_SECTIONS).get(section, ())
    if section == "gate":
        records = (CommandGate,) if family == "command" else GATE_RECORDS
    of_family = [record for record in records if len(records) > 1 and family in tags_of(record)]
    return list(dict.fromkeys(key for record in of_family or records for key in record.model_fields))


def tags_of(record: type[Record]) -> tuple[str, ...]:
    """Return the `family` that a model record stands for, or the `kind`s that a gate's does."""
    field = record.model_fields.get("family") or record.model_fields["kind"]
    names = field.annotation.__args__  # type: ignore[union-attr]
    assert all(isinstance(name, str) for name in names)
    return tuple(names)


def _after_key(message: str, path: KeyPath) -> str:
    """Return the message without the key that it may begin with, which `where` says already."""
    about, rest = _about(message)
    return rest if about in (path[-1:], path) else message


def _about(message: str) -> tuple[KeyPath, str]:
    """Split a validator's message into the key that it begins with, such as `inner.rate` or `gate.1.name`, and the rest."""
    first, _, rest = message.partition(" ")
    return tuple(int(part) if part.isdigit() else part for part in first.split(".")), rest


def _path(detail: ErrorDetails, family: object) -> KeyPath:
    """Return the keys that lead to a mistake. Pydantic's location also names the union member that it tried."""
    path = detail["loc"]
    if path[:2] == ("model", family) and path[0] == "model":
        path = ("model", *path[2:])
    if path[:2] == ("model", "config"):
        return path[:3]
    if path[:1] == ("gate",) and len(path) > 2 and path[2] in (*KINDS, "command"):
        path = (*path[:2], *path[3:])
    if detail["type"].startswith("union_tag"):
        return (*path, "kind" if path[0] == "gate" else "family")
    about, _ = _about(_text(detail))
    full = (*path, *about)
    if detail["type"] == "value_error" and len(full) >= 2 and about[-1] in known_keys(str(full[0]), family):
        return full
    return path


def _text(detail: ErrorDetails) -> str:
    return detail["msg"].removeprefix("Value error, ")


def _message(detail: ErrorDetails) -> str:
    kind, shown = detail["type"], detail["input"]
    if kind == "missing":
        return "the section is missing" if len(detail["loc"]) == 1 and detail["loc"][0] in SECTIONS else "is missing"
    if kind == "extra_forbidden" and isinstance(shown, dict):
        return "unknown section"
    if kind == "tuple_type" and detail["loc"] == ("gate",):
        return "must be a list of sections: write [[gate]]"
    if kind == "union_tag_invalid" and detail["ctx"]["tag"] == "command":
        return _OWN_COMMANDS
    if kind in _SENTENCES:
        return _SENTENCES[kind]
    if kind == "union_tag_invalid":
        return f"must be one of {detail['ctx']['expected_tags']} (not {detail['ctx']['tag']!r})"
    if kind == "value_error":
        return _text(detail)
    if detail["loc"][:2] == ("model", "huggingface") and "config" in detail["loc"]:
        return "must be text, a number, true or false"
    text = detail["msg"].replace("Input should", "must").replace("should", "must").replace("Tuple", "the list")
    is_short = isinstance(shown, str | int | float) and len(repr(shown)) <= _LONGEST_SHOWN
    return f"{text} (not {shown!r})" if is_short else text


def _suggestion(detail: ErrorDetails, path: KeyPath, family: object) -> str:
    if detail["type"] == "extra_forbidden":
        tag = detail["loc"][2] if path[0] == "gate" and len(detail["loc"]) > 2 else family
        return _nearest(path[-1], known_keys(str(path[0]) if len(path) > 1 else "", tag))
    if detail["type"] in ("literal_error", "union_tag_invalid"):
        expected = detail["ctx"].get("expected") or detail["ctx"]["expected_tags"]
        given = detail["ctx"].get("tag", detail["input"])
        return _nearest(given, [word for word in expected.split("'") if word.strip(" ,or")])
    return ""


def _nearest(word: Any, choices: Collection[str]) -> str:
    return next(iter(difflib.get_close_matches(str(word), choices, n=1)), "")
