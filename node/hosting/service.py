"""A systemd user unit that keeps a node running, and starts it with the machine."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import platformdirs

from ..errors import UserError
from ..files import atomic_write

UNIT = "collab-node.service"
_STOP_SECONDS = 45

Run = Callable[[Sequence[str]], None]


def unit_text(command: Sequence[str], home: Path) -> str:
    """Return the unit's text; `command` starts the node in the foreground, `home` is the only place that it writes to."""
    return f"""\
# Written by `collab-node service install`; `collab-node service remove` takes it away.
[Unit]
Description=collab-node: training a model together
Documentation=man:systemd.service(5)
StartLimitIntervalSec=600
StartLimitBurst=10

[Service]
Type=exec
ExecStart={' '.join(_quoted(word) for word in command)}
Environment=PYTHONSAFEPATH=1 PYTHONUNBUFFERED=1 NO_COLOR=1
Restart=on-failure
RestartPreventExitStatus=2 3
RestartSec=10
# One SIGTERM: the node says goodbye, the worker saves its checkpoint, the children follow.
KillMode=mixed
TimeoutStopSec={_STOP_SECONDS}
Nice=5
# Nothing but what a node needs. The GPU's devices stay visible.
NoNewPrivileges=yes
PrivateTmp=yes
ProtectSystem=strict
ProtectHome=read-only
ReadWritePaths={_quoted(str(home))}
ReadWritePaths=-{_quoted(str(platformdirs.user_cache_path()))}
ReadWritePaths=-%t
ProtectKernelTunables=yes
ProtectControlGroups=yes
RestrictSUIDSGID=yes
RestrictRealtime=yes
LockPersonality=yes
UMask=0077

[Install]
WantedBy=default.target
"""


def _quoted(word: str) -> str:
    """Quote a word for systemd, where `%` and `$` mean something."""
    if any(ord(letter) < 32 for letter in word):
        raise UserError(f"{word!r} cannot stand in a unit: it has a control character")
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if shlex.quote(word) != word else escaped


def unit_path() -> Path:
    """Return where the user's units are."""
    return platformdirs.user_config_path("systemd") / "user" / UNIT


def install(text: str, path: Path, run: Run) -> None:
    """Write the unit, and start it now and with every start of the machine. Raises UserError, and leaves no new unit then."""
    was_there = path.exists()
    atomic_write(path, text.encode())
    try:
        run(["systemctl", "--user", "daemon-reload"])
        run(["systemctl", "--user", "enable", "--now", UNIT])
    except UserError:
        if not was_there:
            path.unlink(missing_ok=True)
        raise


def remove(path: Path, run: Run) -> None:
    """Stop the node, and take the unit away. Raises UserError."""
    if not path.exists():
        raise UserError(f"there is no unit {path}", "`collab-node service install` writes one")
    run(["systemctl", "--user", "disable", "--now", UNIT])
    path.unlink()
    run(["systemctl", "--user", "daemon-reload"])


def run_systemctl(command: Sequence[str]) -> None:
    """Run a command of systemd. Raises UserError with its words if it fails."""
    if shutil.which(command[0]) is None:
        raise UserError("this machine has no systemd", "`--dry-run` prints the unit; `--detach` needs none")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        hint = "systemd --user runs for who is logged in; `loginctl enable-linger` keeps it running without"
        raise UserError(f"{' '.join(command)}: {said}", hint)
