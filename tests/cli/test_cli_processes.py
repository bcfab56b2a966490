"""`collab-node` as a process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"torch", "hivemind", "numpy", "pydantic", "structlog", "cryptography", "asyncio"}


def collab_node(*arguments: object, home: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLLAB_HOME": str(home), "XDG_CONFIG_HOME": str(home / "config")}
    command = [sys.executable, "-m", "collab.node", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_help_comes_without_what_the_commands_need(home: Path) -> None:
    script = "import sys, collab.node.cli; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert HEAVY.isdisjoint(done.stdout.split())
    assert "collab-node" in collab_node("--help", home=home).stdout


@pytest.mark.parametrize(
    ("arguments", "line", "code"),
    [
        (("join", "collab1-nonsense"), "error: the invite is incomplete or mistyped", 1),
        (("log",), "error: ", 1),
        (("dance",), "error: No such command 'dance'.", 2),
    ],
)
def test_errors_are_a_line_and_an_exit_code(home: Path, arguments: tuple[str, ...], line: str, code: int) -> None:
    done = collab_node(*arguments, home=home)
    assert done.returncode == code
    assert done.stdout == ""
    assert done.stderr.startswith(line)
    assert "Traceback" not in done.stderr


def test_a_pipe_that_closes_early_is_no_error_of_ours(home: Path, event_file: Path) -> None:
    assert collab_node("event", "check", event_file, home=home).returncode == 0
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "collab.node", "event", "check", str(event_file)]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert "Traceback" not in done.stderr
