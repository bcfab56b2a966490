"""A swarm of real node processes on this machine, for the demo, the benches and the end-to-end tests.

Every node is the command that a volunteer types, with a home of its own, on loopback, with ports chosen by the system.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .control.socket import ControlError, call

_POLL_SECONDS = 0.1


class SwarmError(RuntimeError):
    """A node ended, or did not get where it was expected, in time; the message holds the end of its log."""


@dataclass
class LocalNode:
    """One node: its process, its home and its log."""

    name: str
    home: Path
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    arguments: list[str] = field(default_factory=list)
    prefix: list[str] = field(default_factory=list)
    """A command that runs the node's command, such as `ip netns exec NAME`."""

    @property
    def log(self) -> Path:
        """The node's standard output and error."""
        return self.home / "node.log"

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self, arguments: list[str] | None = None) -> None:
        """Start the node, or start it again with the same arguments."""
        self.arguments = arguments if arguments is not None else self.arguments
        self.home.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            command = [*self.prefix, *COMMAND, *self.arguments, "--home", str(self.home)]
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment(), start_new_session=True
            )
        self.started = time.monotonic()

    def ask(self, request: str, **arguments: Any) -> dict[str, Any]:
        """Ask the running daemon over its control socket."""
        return call(self.home, request, **arguments)

    def status(self) -> dict[str, Any] | None:
        """Return the node's view of itself, or None while it does not answer."""
        with contextlib.suppress(ControlError):
            return self.ask("status")
        return None

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        if self.alive and self.process is not None:
            self.process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """kill -9 the daemon; its children notice and go."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def wait(self, seconds: float = 30.0) -> int:
        """Wait for the process to end and return its exit code."""
        if self.process is None:
            return 0
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise SwarmError(f"{self.name} did not stop in {seconds:.0f} s\n{self.tail()}") from error

    def tail(self, lines: int = 15) -> str:
        """Return the end of the node's log."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


COMMAND = [sys.executable, "-m", "collab.node"]


def environment() -> dict[str, str]:
    """Return the environment that nodes run in."""
    return {**os.environ, "PYTHONSAFEPATH": "1", "NO_COLOR": "1", "OMP_NUM_THREADS": "1"}


class LocalSwarm:
    """Nodes under one folder; the first is the coordinator's."""

    def __init__(self, root: Path, *, common: list[str] | None = None) -> None:
        """`common` are arguments that every node gets besides `--home`."""
        self.root = root
        self.nodes: list[LocalNode] = []
        self._numbers = itertools.count(1)
        self._common = ["--host", "127.0.0.1", *(common or [])]

    @property
    def coordinator(self) -> LocalNode:
        return self.nodes[0]

    def add(self) -> LocalNode:
        """Add a node that is not started yet."""
        name = f"node-{next(self._numbers)}"
        self.nodes.append(LocalNode(name, self.root / name))
        return self.nodes[-1]

    def create(self, event_file: Path, *arguments: str) -> None:
        """Make the coordinator's key and home, and sign the event; `arguments` are for `event create`."""
        run("event", "create", str(event_file), *arguments, "--home", str(self.add().home))

    def seed(self, *, trains: bool = True, arguments: list[str] | None = None) -> LocalNode:
        """Start the coordinator's node and wait until it can be joined."""
        node = self.coordinator
        node.start(["seed", *(["--train"] if trains else []), *self._common, *(arguments or [])])
        self.wait(lambda: bool((node.status() or {}).get("addresses")), 60, "the coordinator's node to be reachable")
        return node

    def invite(self) -> str:
        """Return the line that volunteers paste."""
        return run("event", "invite", "--home", str(self.coordinator.home)).strip()

    def join(self, count: int = 1, *, invite: str = "", arguments: list[str] | None = None) -> list[LocalNode]:
        """Start `count` more volunteers; without an `invite` the coordinator's running node makes one."""
        invite = invite or self.invite()
        joined = []
        for _ in range(count):
            node = self.add()
            node.start(["join", invite, *self._common, *(arguments or [])])
            joined.append(node)
        return joined

    def wait(
        self, condition: Callable[[], bool], seconds: float, what: str, *, watch: list[LocalNode] | None = None
    ) -> None:
        """Poll until `condition`; SwarmError when `seconds` pass or one of `watch` (default: all) has ended."""
        deadline = time.monotonic() + seconds
        while not condition():
            for node in watch if watch is not None else self.nodes:
                if node.process is not None and not node.alive:
                    raise SwarmError(f"{node.name} ended with {node.process.returncode} before {what}\n{node.tail()}")
            if time.monotonic() > deadline:
                tails = "\n".join(f"--- {node.name}\n{node.tail()}" for node in self.nodes)
                raise SwarmError(f"waited {seconds:.0f} s for {what}\n{tails}")
            time.sleep(_POLL_SECONDS)

    def wait_for_round(self, round: int, seconds: float, nodes: list[LocalNode] | None = None) -> None:
        """Wait until each of `nodes` (default: all) holds the commit of `round` or a later one."""
        watched = nodes if nodes is not None else self.nodes
        self.wait(lambda: all(reached(node, round) for node in watched), seconds, f"round {round}", watch=watched)

    def states(self, round: int | None = None) -> dict[str, str]:
        """Return each running node's state hash in hex after the commit of `round` (default: its newest)."""
        return {node.name: node.ask("commit", round=round)["state"] for node in self.nodes if node.alive}

    def stop(self, seconds: float = 20.0) -> None:
        """Press Ctrl-C on every node, wait, and kill what remains."""
        for node in self.nodes:
            node.interrupt()
        for node in self.nodes:
            with contextlib.suppress(SwarmError):
                node.wait(seconds)
            if node.alive:
                node.kill()


def reached(node: LocalNode, round: int) -> bool:
    """Say whether the node answers and is at `round` or further."""
    status = node.status()
    return status is not None and int(status["round"]) >= round


def run(*arguments: str) -> str:
    """Run a `collab-node` command to its end and return what it printed. Raises SwarmError with its error line."""
    result = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, env=environment(), check=False)
    if result.returncode:
        raise SwarmError(f"collab-node {' '.join(arguments)}: {result.stderr.strip()}")
    return result.stdout


@contextlib.contextmanager
def local_swarm(root: Path, event_file: Path, *, common: list[str] | None = None) -> Iterator[LocalSwarm]:
    """A swarm that is stopped at the end, whatever happens."""
    swarm = LocalSwarm(root, common=common)
    swarm.create(event_file)
    try:
        yield swarm
    finally:
        swarm.stop()
