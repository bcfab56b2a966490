"""What `set` changed, kept in the home: it holds over restarts, before settings and flags, until it is set to `default`."""

from __future__ import annotations

import json
from pathlib import Path

from ..errors import UserError
from ..files import atomic_write
from .limits import Limits, no_such_limit

DEFAULT = "default"
_MAX_FILE = 16 * 1024


def read_overrides(path: Path) -> dict[str, str]:
    """Return what was set, as it was written. Raises UserError if the file is damaged."""
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(_MAX_FILE))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}", "remove it to return to the settings") from error
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise UserError(f"{path} is damaged", "remove it to return to the settings")
    return found


def effective(base: Limits, overrides: dict[str, str]) -> Limits:
    """Return the limits that hold. Raises UserError."""
    return base.changed(overrides)


def with_override(base: Limits, overrides: dict[str, str], key: str, value: str) -> dict[str, str]:
    """Return the overrides with one more, or with one less for `default`. Raises UserError if the value is none."""
    if key not in Limits.model_fields:
        raise no_such_limit(key)
    others = {name: text for name, text in overrides.items() if name != key}
    changed = others if value == DEFAULT else {**others, key: value}
    effective(base, changed)
    return changed


def write_overrides(path: Path, overrides: dict[str, str]) -> None:
    """Keep them. Raises UserError."""
    atomic_write(path, json.dumps(overrides, indent=1).encode())
