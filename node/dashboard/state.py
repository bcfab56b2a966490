"""What the page shows, as plain values, and the difference between two of them.

A state has `values` (small, sent whole when they change) and `tables` (rows by key, of which only what changed is sent). Every
table is bounded by whoever builds it, so a page that follows the deltas holds no more than the newest state.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Row: TypeAlias = Mapping[str, Any]
Table: TypeAlias = Mapping[str, Row]
Delta: TypeAlias = dict[str, dict[str, Any]]

_LONGEST_TEXT = 2000


@dataclass(frozen=True)
class State:
    """Plain values for JSON: see `reader` for the names."""

    values: Mapping[str, Any] = field(default_factory=dict)
    tables: Mapping[str, Table] = field(default_factory=dict)

    def whole(self) -> dict[str, Any]:
        """Return all of it, in the form of a delta on nothing."""
        return {"values": dict(self.values), "tables": {name: dict(table) for name, table in self.tables.items()}}


def difference(before: State, after: State) -> Delta:
    """Return what turns `before` into `after`; a row or value that went is None. Empty if they are equal."""
    values = _changed(before.values, after.values)
    tables = {}
    for name in {*before.tables, *after.tables}:
        changed = _changed(before.tables.get(name, {}), after.tables.get(name, {}))
        if changed:
            tables[name] = changed
    return {part: changes for part, changes in (("values", values), ("tables", tables)) if changes}


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    changed = {name: value for name, value in after.items() if name not in before or before[name] != value}
    return changed | dict.fromkeys(before.keys() - after.keys())


def to_json(value: object) -> str:
    """Return compact JSON; numbers that are not finite become null, and long texts are cut: they came from the network."""
    return json.dumps(_plain(value), separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _plain(value: object) -> object:
    if isinstance(value, str):
        return value if len(value) <= _LONGEST_TEXT else value[: _LONGEST_TEXT - 1] + "…"
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
