"""The event of small swarms that are watched: a model of some thousand parameters, on the standard library's sources."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

SECTIONS: dict[str, dict[str, Any]] = {
    "model": {"family": "gpt", "layers": 1, "width": 32, "heads": 2, "vocabulary": 256},
    "data": {"source": "stdlib", "block": 32, "held_out": 0.2, "held_out_samples": 16, "max_bytes": 65536},
    # The deadline ends a round, however fast the machine is: peers tell of their progress every few seconds.
    "inner": {"batch": 4, "steps": 100_000, "total_samples": 65536, "bf16": False},
    "compression": {"kind": "sparse", "k": 128},
    "outer": {"kind": "sgd", "rate": 2.0},
    "merge": {"method": "average", "cap": 0.5},
    "admission": {"mode": "open"},
    "rounds": {"deadline": 6.0, "collect": 3.0, "view": 2.0, "committee": 4, "snapshot_every": 3},
}  # fmt: skip


def write_event(path: Path, changes: Mapping[str, Mapping[str, Any]] | None = None) -> Path:
    """Write the event to `path`, with `changes` to its sections; a key that becomes None is left out."""
    lines = ['name = "watched"']
    for section, fields in SECTIONS.items():
        merged = {**fields, **(changes or {}).get(section, {})}
        lines += [f"[{section}]", *(f"{name} = {_toml(value)}" for name, value in merged.items() if value is not None)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _toml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f'"{value}"' if isinstance(value, str) else repr(value)
