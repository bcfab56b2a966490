"""Places where tests kill a node: failures are scheduled by name, not by sleeping.

`COLLAB_FAILPOINTS` names a file. It holds a failpoint's name and a daemon's process id, as in `send-proposal 4711`. When that
daemon (or its worker) comes to that failpoint, the file is removed and the daemon gets SIGKILL, as from `kill -9` at that very
instruction. Without the variable, which nothing but the tests sets, a failpoint does nothing.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

VARIABLE = "COLLAB_FAILPOINTS"


def failpoint(name: str, *, daemon: int | None = None) -> None:
    """Kill the process `daemon` (default: this one) and this one, if a test asks for it under this name."""
    file = os.environ.get(VARIABLE)
    if file is not None:
        _fail(Path(file), name, daemon or os.getpid())


def _fail(path: Path, name: str, daemon: int) -> None:
    try:
        if path.read_text() != f"{name} {daemon}":
            return
        path.unlink()
    except FileNotFoundError:
        return
    os.kill(daemon, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
