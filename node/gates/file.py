"""A person's own gates: TOML with `[[gate]]` alone, checked like an event. The one place where a gate may be a command."""

from __future__ import annotations

import tomllib
from pathlib import Path

from pydantic import ValidationError

from ...protocol.gates import GateFile, OwnGate
from ..errors import UserError
from ..event.file import EventFileError, frozen, syntax_problem
from ..event.problems import explain
from ..event.toml_lines import key_lines


def read_gate_file(path: Path) -> tuple[OwnGate, ...]:
    """Return the gates in the file at `path`. Raises UserError with a line for each mistake."""
    try:
        return _parse(path.read_bytes().decode(), str(path))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text") from error
    except EventFileError as error:
        raise UserError(str(error)) from error


def _parse(text: str, source: str) -> tuple[OwnGate, ...]:
    last_line = text.rstrip().count("\n") + 1
    try:
        table, lines = tomllib.loads(text), key_lines(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise EventFileError(source, [syntax_problem(error, last_line)]) from error
    try:
        return GateFile.model_validate(frozen(table)).gate
    except ValidationError as error:
        raise EventFileError(source, explain(error, None, lines, last_line)) from error
