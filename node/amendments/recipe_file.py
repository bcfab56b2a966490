"""A change of recipe as a coordinator writes it: TOML with the keys that change, in the sections of the event file."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ...protocol.amendments import SECTIONS, InForce, Recipe
from ...protocol.errors import RemoteProtocolError
from ..errors import UserError
from ..event.file import EventFileError, apply_units, frozen, syntax_problem
from ..event.problems import SECTIONS as EVENT_SECTIONS
from ..event.problems import Problem, explain, line_of
from ..event.toml_lines import KeyPath, key_lines


def read_recipe(path: Path, state: InForce, from_round: int) -> Recipe:
    """Return the change that the file at `path` makes from `from_round` on. Raises UserError with a line for every mistake."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {getattr(error, 'strerror', None) or 'not UTF-8 text'}") from error
    try:
        return parse_recipe(text, str(path), state, from_round)
    except EventFileError as error:
        raise UserError(str(error)) from error


def parse_recipe(text: str, source: str, state: InForce, from_round: int) -> Recipe:
    """As `read_recipe`, of a text. Raises EventFileError."""
    last_line = text.rstrip().count("\n") + 1
    try:
        table, lines = tomllib.loads(text), key_lines(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise EventFileError(source, [syntax_problem(error, last_line)]) from error
    found = [problem for name in table if (problem := _misplaced(name, table[name], lines)) is not None]
    if not table:
        found.append(Problem(last_line, "", "says nothing that changes"))
    found += apply_units(table, lines)
    now = state.recipe(from_round)
    given = {name: keys for name, keys in table.items() if name in SECTIONS and isinstance(keys, dict)}
    changed = {name: {**now[name].model_dump(), **frozen(keys)} for name, keys in given.items()}
    try:
        recipe = Recipe.model_validate({"from_round": from_round, **changed}) if changed else None
    except ValidationError as error:
        found += explain(error, None, lines, last_line)
        raise EventFileError(source, found) from error
    if found or recipe is None:
        raise EventFileError(source, found)
    _check_kept(recipe, source, state, lines)
    return recipe


def _misplaced(name: str, value: Any, lines: Mapping[KeyPath, int]) -> Problem | None:
    line = line_of((name,), lines)
    if name in SECTIONS:
        return None if isinstance(value, dict) else Problem(line, name, "must be a section")
    if name in (*EVENT_SECTIONS, "gate", "name", "description"):
        return Problem(line, name, f"cannot change once an event has started; what can: {', '.join(SECTIONS)}")
    return Problem(line, name, f"unknown section; what can change: {', '.join(SECTIONS)}")


def _check_kept(recipe: Recipe, source: str, state: InForce, lines: Mapping[KeyPath, int]) -> None:
    """Raise EventFileError if the recipe changes what has to stay, on that key's line."""
    try:
        state.check_recipe(recipe)
    except RemoteProtocolError as error:
        where, _, why = error.detail.partition(" ")
        path: KeyPath = tuple(where.split("."))
        known = path[0] in SECTIONS
        problem = Problem(line_of(path, lines), where, why) if known else Problem(0, "", error.detail)
        raise EventFileError(source, [problem]) from error
