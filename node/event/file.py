"""The event file: TOML that a coordinator writes, checked whole, every mistake with its line.

The sections are those of `EventDraft`, and so are the rules: this module only carries the values there, and `event_problems` what
is wrong back to the line that it stands on.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ...protocol.event import EventDraft
from .problems import Problem, dotted, explain, line_of
from .toml_lines import KeyPath, key_lines
from .units import seconds, size

UNITS: dict[tuple[str, str], Callable[[str], float]] = {
    ("data", "max_bytes"): size,
    ("rounds", "deadline"): seconds,
    ("rounds", "collect"): seconds,
    ("rounds", "view"): seconds,
}
"""The keys that may be written with a unit, as text."""


class EventFileError(ValueError):
    """The file is not an event. `problems` has every mistake found, in the order of their lines; the text has a line for each."""

    def __init__(self, source: str, problems: list[Problem]) -> None:
        self.source = source
        self.problems = sorted(problems, key=lambda problem: problem.line)
        super().__init__("\n".join(_located(source, problem) for problem in self.problems))


def _located(source: str, problem: Problem) -> str:
    return f"{source}:{problem.line}: {problem}" if problem.line else f"{source}: {problem}"


def read_event_file(path: Path) -> EventDraft:
    """Return the event that the file at `path` describes. Raises EventFileError, also for a file that cannot be read."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise EventFileError(str(path), [Problem(0, "", f"cannot be read: {error.strerror or error}")]) from error
    try:
        return parse_event(data.decode(), str(path))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise EventFileError(str(path), [Problem(line, "", "not UTF-8 text")]) from error


def parse_event(text: str, source: str) -> EventDraft:
    """Return the event that a TOML text describes; `source` is what errors call the text. Raises EventFileError."""
    last_line = text.rstrip().count("\n") + 1
    try:
        table, lines = tomllib.loads(text), key_lines(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise EventFileError(source, [syntax_problem(error, last_line)]) from error
    problems = apply_units(table, lines)
    try:
        draft = EventDraft.model_validate(frozen(table))
    except ValidationError as error:
        problems += explain(error, _family(table), lines, last_line)
        raise EventFileError(source, problems) from error
    if problems:
        raise EventFileError(source, problems)
    return draft


def event_template() -> str:
    """Return the commented TOML that `event init` writes: every key, with its default or an example. It is a valid event."""
    return _packaged("template.toml")


def embedded_event() -> EventDraft:
    """Return the demo event that ships with the package."""
    return parse_event(_packaged("demo.toml"), "demo.toml")


def _packaged(name: str) -> str:
    return (files("collab") / "configs" / name).read_text(encoding="utf-8")


def syntax_problem(error: Exception, last_line: int) -> Problem:
    """Return what `tomllib` found, with its line."""
    if isinstance(error, RecursionError):
        return Problem(last_line, "", "not TOML: nested too deep")
    message, _, position = str(error).partition(" (at ")
    line = position.removeprefix("line ").partition(",")[0]
    return Problem(int(line) if line.isdigit() else last_line, "", f"not TOML: {message}")


def apply_units(table: dict[str, Any], lines: Mapping[KeyPath, int]) -> list[Problem]:
    """Replace durations and sizes written as text by numbers, in place; what is neither is removed and returned as a problem."""
    problems = []
    for path, unit in UNITS.items():
        section, key = table.get(path[0]), path[1]
        if not isinstance(section, dict) or not isinstance(section.get(key), str):
            continue
        try:
            section[key] = unit(section[key])
        except ValueError as error:
            del section[key]
            problems.append(Problem(line_of(path, lines), dotted(path), str(error)))
    return problems


def frozen(value: Any) -> Any:
    """Return `value` with tuples for lists, which is what the strict records take."""
    if isinstance(value, dict):
        return {key: frozen(item) for key, item in value.items()}
    if isinstance(value, list):
        return tuple(frozen(item) for item in value)
    return value


def _family(table: Mapping[str, Any]) -> object:
    model = table.get("model")
    return model.get("family") if isinstance(model, dict) else None
