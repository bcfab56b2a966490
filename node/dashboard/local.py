"""A dashboard's process on this machine, for the benches and the tests."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..local_swarm import COMMAND, SwarmError, environment

_ADDRESS = re.compile(r"dashboard: (http://\S+)")
_STOP_SECONDS = 10.0


@dataclass(frozen=True)
class LocalDashboard:
    """The address that it printed, token and all, and its process."""

    url: str
    process: subprocess.Popen[str]


@contextmanager
def local_dashboard(home: Path, *arguments: str) -> Iterator[LocalDashboard]:
    """Run `collab-node dashboard` on `home`, on any free port, until the block ends. Raises SwarmError if it does not start."""
    command = [*COMMAND, "dashboard", "--home", str(home), "--port", "0", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment())
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        found = _ADDRESS.search(line)
        if found is None:
            raise SwarmError(f"the dashboard did not start: {line}{process.stdout.read()}")
        yield LocalDashboard(found[1], process)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
