"""`collab-node` as a process."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from collab.protocol.invite import Invite

HEAVY = {"torch", "hivemind", "numpy", "pydantic", "structlog", "cryptography", "asyncio"}


def collab_node(*arguments: object, home: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLLAB_HOME": str(home), "XDG_CONFIG_HOME": str(home / "config")}
    command = [sys.executable, "-m", "collab.node", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_help_comes_without_what_the_commands_need(home: Path) -> None:
    script = "import sys, collab.node.cli.app; print(*sys.modules)"
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


def test_a_disk_that_is_full_from_the_start_is_a_line(tmp_path: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        with (tmp_path / "filler").open("wb", buffering=0) as file, suppress(OSError):
            while file.write(bytes(4096)):
                pass
        invite = Invite(event=bytes(32), bootstrap=("/ip4/127.0.0.1/tcp/1",)).text()
        done = collab_node("join", invite, home=tmp_path / "home")
        error, hint = done.stderr.splitlines()
        assert (done.returncode, done.stdout) == (1, "")
        assert error.startswith("error: no space left on the disk that holds ")
        assert hint == "hint: free some, or move the node with --home DIR"
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
