"""A node in the background: started from a terminal that it outlives, and started again in its own place."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..control.socket import ControlError, call
from ..errors import UserError
from ..files import make_folder
from ..home import Home

RESTART = -1  # in place of an exit code
_POLL_SECONDS = 0.1
_PATIENCE_SECONDS = 90.0
_LINES = 3


class NotStarted(UserError):
    """The node ended before it was up."""

    def __init__(self, message: str, hint: str, exit_code: int) -> None:
        super().__init__(message, hint)
        self.exit_code = exit_code


def background_command(arguments: Sequence[str], log: Path) -> list[str]:
    """Return the command that does in the background what `arguments` (of collab-node) ask for."""
    kept = [argument for argument in arguments if argument != "--detach"]
    return [sys.executable, "-m", "collab.node", *kept, "--display", "plain", "--log-file", str(log)]


def go_on_in_background(home: Home, say: Callable[[str], None], arguments: Sequence[str] | None = None) -> None:
    """Start this command again without its terminal, and return when the node is up or still at work after a while.

    `say` hears what it does meanwhile, a line at a time. Raises UserError with the node's own words if it ends before.
    """
    with home.lock():
        pass  # else the other node's log would say why this one does not start
    command = background_command(sys.argv[1:] if arguments is None else arguments, home.log_path.absolute())
    make_folder(home.log_path.parent)
    start = home.log_path.stat().st_size if home.log_path.exists() else 0
    # What it says before its log is open, and whatever kills it, goes into the same file.
    with home.log_path.open("ab") as log:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            env={**os.environ, "PYTHONSAFEPATH": "1"},
        )  # fmt: skip
    try:
        _wait_until_up(child, home, start, say)
    except KeyboardInterrupt:
        say(f"it goes on in the background as process {child.pid}; `collab-node leave` ends it")
        raise


def _wait_until_up(child: subprocess.Popen[bytes], home: Home, start: int, say: Callable[[str], None]) -> None:
    said, deadline = "", time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        code = child.poll()
        if code is not None:
            raise _failure(home.log_path, start, code)
        view = _view(home, child.pid)
        if view.get("device"):
            say(f"in the background as process {child.pid}: {view['event']}, round {int(view['round']) + 1}")
            say("`collab-node status` shows it, `logs -f` follows it, `leave` ends it")
            return
        phase = str(view.get("phase", ""))
        if phase and phase != said:
            say(phase)
            said = phase
        time.sleep(_POLL_SECONDS)
    say(f"process {child.pid} is still at it ({said or 'starting'}); `collab-node logs -f` shows how it goes")


def _view(home: Home, pid: int) -> dict[str, Any]:
    """Return what the node says of itself; nothing while it cannot, or while another process has the home."""
    try:
        if home.lock_path.read_text().strip() != str(pid):
            return {}
        return call(home.path, "status", timeout=2.0)
    except (ControlError, OSError):
        return {}


def _failure(log: Path, start: int, code: int) -> UserError:
    """Return the error with which the node ended, as it stands in its log."""
    with log.open("rb") as file:
        file.seek(start)
        lines = file.read().decode(errors="replace").splitlines()
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    hints = [line.removeprefix("hint: ") for line in lines if line.startswith("hint: ")]
    text = "\n".join(errors) or f"the node ended with {code}: " + " / ".join(lines[-_LINES:])
    return NotStarted(text, hints[-1] if hints else f"its log is {log}", code if 0 < code < 128 else 1)


def start_again() -> None:
    """Put a new process with the same command in the place of this one: same id, terminal, log and service."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
