"""Reading a log that is written and rotated by another process."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from ..errors import UserError

_POLL_SECONDS = 0.25


def last_lines(path: Path, count: int) -> list[str]:
    """Return the last `count` lines of the log at `path`, older files (`.1`, `.2` …) included. Raises UserError."""
    if not path.exists():
        hint = "a node that runs in a terminal logs there; `--detach` and the service write one"
        raise UserError(f"there is no log {path}", hint)
    lines: list[str] = []
    number = 0
    file = path
    while len(lines) < count and file.exists():
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines() + lines
        number += 1
        file = path.with_name(f"{path.name}.{number}")
    return lines[-count:] if count else []


def follow(path: Path, wait: Callable[[], None] = lambda: time.sleep(_POLL_SECONDS)) -> Iterator[str]:
    """Yield every line that is written from now on, over rotations, for ever. `wait` is called when there is none."""
    file = path.open(encoding="utf-8", errors="replace")
    try:
        file.seek(0, 2)
        pending = ""
        while True:
            text = file.readline()
            pending += text
            if pending.endswith("\n"):
                yield pending.rstrip("\n")
                pending = ""
            elif not text:
                with suppress(FileNotFoundError):  # between the two renames of a rotation
                    if path.stat().st_ino != _inode(file.fileno()):
                        file.close()
                        file = path.open(encoding="utf-8", errors="replace")
                        continue
                wait()
    finally:
        file.close()


def _inode(descriptor: int) -> int:
    return os.fstat(descriptor).st_ino
