"""What the end-to-end tests share: a tiny event whose round takes a second or two, and questions to running nodes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from collab.node.home import Home
from collab.node.local_swarm import COMMAND, LocalNode, LocalSwarm, environment, local_swarm
from collab.node.store import Store
from collab.protocol.commit import Commit

COMMITTEE = 4
DEADLINE = 6.0
STEPS, BATCH = 40, 4
SNAPSHOT_EVERY = 3
LOGS = ["--log-level", "debug", "--log-format", "json"]
TINY: dict[str, dict[str, Any]] = {
    "model": {"family": "gpt", "layers": 1, "width": 32, "heads": 2, "vocabulary": 256},
    "data": {"source": "stdlib", "block": 32, "held_out": 0.2, "held_out_samples": 16, "max_bytes": 65536},
    "inner": {"batch": BATCH, "steps": STEPS, "total_samples": 65536, "bf16": False},
    "compression": {"kind": "sparse", "k": 128},
    "outer": {"kind": "sgd", "rate": 2.0},
    "merge": {"method": "average", "cap": 0.5},
    "rounds": {
        "deadline": DEADLINE, "collect": 3.0, "view": 2.0, "committee": COMMITTEE, "snapshot_every": SNAPSHOT_EVERY,
    },
    "admission": {"mode": "open"},
}  # fmt: skip


def write_event(path: Path, **changes: dict[str, Any]) -> Path:
    """Write the tiny event to `path`, with `changes` to its sections."""
    lines = ['name = "tiny"']
    for section, fields in TINY.items():
        lines.append(f"[{section}]")
        lines += [f"{name} = {_toml(value)}" for name, value in {**fields, **changes.get(section, {})}.items()]
    path.write_text("\n".join(lines))
    return path


def _toml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f'"{value}"' if isinstance(value, str) else repr(value)


def fails(*arguments: str) -> tuple[int, str]:
    """Return the exit code and what a command printed on standard error, without log lines."""
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=120, env=environment(), check=False)
    assert "Traceback" not in done.stderr
    return done.returncode, "\n".join(line for line in done.stderr.splitlines() if not line.startswith("{"))


@contextmanager
def swarm_of(root: Path, volunteers: int, **changes: dict[str, Any]) -> Iterator[LocalSwarm]:
    """A swarm on the tiny event whose coordinator trains, with `volunteers` more; stopped at the end."""
    root.mkdir(parents=True, exist_ok=True)
    with local_swarm(root, write_event(root / "event.toml", **changes), common=LOGS) as swarm:
        swarm.seed()
        be_ready(swarm, *swarm.join(volunteers))
        yield swarm


def kill_at(failpoints: Path, node: LocalNode, name: str, seconds: float = 90.0) -> None:
    """Arm the failpoint and wait until the node died of it, with its children."""
    assert node.process is not None
    processes = children(node)
    partial = failpoints.with_suffix(".new")
    partial.write_text(f"{name} {node.process.pid}")
    partial.rename(failpoints)
    assert node.wait(seconds) == -9
    assert not failpoints.exists()
    assert_gone(processes)


def with_clock(folder: Path, ahead: float) -> list[str]:
    """Return what a node's command begins with so that, to it and its children in Python, it is so many seconds later."""
    folder.mkdir()
    lines = ["import time", "_true = time.time", f"time.time = lambda: _true() + {ahead}"]
    (folder / "sitecustomize.py").write_text("\n".join(lines))
    return ["env", f"PYTHONPATH={os.pathsep.join(filter(None, [str(folder), os.environ.get('PYTHONPATH')]))}"]


def head(swarm: LocalSwarm) -> int:
    """Return the newest round that any running node has."""
    return max(int(status["round"]) for node in swarm.nodes if (status := node.status()) is not None)


def peer_id(node: LocalNode) -> str:
    """Return the node's peer id. The node must be running."""
    return str(node.ask("status")["peer"])


def commits(node: LocalNode, first: int = 0) -> list[Commit]:
    """Return the node's chain from the commit of round `first` on, oldest first; of a node without an event, nothing."""
    folders = Home(node.home).events()
    if not folders:
        return []
    with Store.open(folders[0].store_path, read_only=True) as store:
        return store.chain(max(0, store.head_commit().round - first + 1))[::-1] if store.head() is not None else []


def roster(node: LocalNode) -> int:
    """Return how many members the node's newest commit has."""
    return len(commits(node)[-1].roster)


def wait_for_contribution(swarm: LocalSwarm, node: LocalNode, seconds: float = 60.0) -> None:
    """Wait until a commit that nobody has yet merged something of `node`: it has the weights, trains and is heard."""
    since, me = head(swarm), ""

    def contributed() -> bool:
        nonlocal me
        me = me or str((node.status() or {}).get("peer", ""))
        return any(me in contributors(commit) for commit in commits(node, since + 1))

    swarm.wait(contributed, seconds, f"a contribution of {node.name} after round {since}", watch=[node])


@contextmanager
def resting(nodes: Iterable[LocalNode]) -> Iterator[None]:
    """Hold the trainers of `nodes` still: what starts meanwhile on a small machine gets its cores, and misses no round."""
    workers = [found["worker"] for node in nodes if node.status() is not None and "worker" in (found := children(node))]
    for worker in workers:
        worker.suspend()
    try:
        yield
    finally:
        for worker in workers:
            with suppress(psutil.NoSuchProcess):
                worker.resume()


def is_ready(node: LocalNode) -> bool:
    return bool((node.status() or {}).get("device"))


def be_ready(swarm: LocalSwarm, *nodes: LocalNode) -> None:
    """Wait until `nodes`, just started, have the model and the data, while the others rest."""
    with resting(other for other in swarm.nodes if other not in nodes):
        swarm.wait(lambda: all(is_ready(node) for node in nodes), 120, "them to be ready", watch=[*nodes])


def settle_in(swarm: LocalSwarm, node: LocalNode) -> None:
    """Wait until `node`, just started, takes part; and then until a commit has something of it."""
    be_ready(swarm, node)
    wait_for_contribution(swarm, node)


def log_lines(node: LocalNode) -> list[dict[str, Any]]:
    """Return what the node has logged so far."""
    # What follows the last end of a line is being written.
    return [json.loads(line) for line in node.log.read_text().rpartition("\n")[0].splitlines() if line.startswith("{")]


def line_of(swarm: LocalSwarm, node: LocalNode, event: str, seen: int) -> dict[str, Any]:
    """Wait until the node logs `event` after the first `seen` lines, and return that line."""

    def found() -> dict[str, Any] | None:
        return next((line for line in log_lines(node)[seen:] if line["event"] == event), None)

    swarm.wait(lambda: found() is not None, 60, f"{node.name} to log {event!r}", watch=[node])
    return found() or {}


def contributors(commit: Commit) -> set[str]:
    """Return the peer ids of those whose contributions the commit merged."""
    return {signed.signer for signed, _ in commit.contributions()}


def metric(node: LocalNode, name: str, **labels: str) -> float:
    """Return the sum of the metric's samples that have these labels, as the running node shows them now."""
    port = node.ask("status")["metrics_port"]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
        text = response.read().decode()
    found = re.findall(rf"^{name}(?:\{{(.*)\}})? (\S+)$", text, re.MULTILINE)
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    return sum(float(value) for had, value in found if all(label in had.split(",") for label in wanted))


def children(node: LocalNode) -> dict[str, psutil.Process]:
    """Return the running node's child processes: `sidecar`, `worker` and `p2pd`."""
    daemon = node.process.pid if node.process is not None else int(Home(node.home).lock_path.read_text())
    found = {}
    for process in psutil.Process(daemon).children(recursive=True):
        line = " ".join(process.cmdline())
        for name, mark in (("sidecar", "collab.node.sidecar"), ("worker", "collab.node.trainer"), ("p2pd", "p2pd")):
            if mark in line:
                found[name] = process
    return found


def assert_gone(processes: dict[str, psutil.Process]) -> None:
    """Wait a few seconds until all of them have ended."""
    deadline = time.monotonic() + 10
    while alive := [name for name, process in processes.items() if _runs(process)]:
        assert time.monotonic() < deadline, alive
        time.sleep(0.05)


def _runs(process: psutil.Process) -> bool:
    """Say whether it runs: a zombie, which waits for whoever adopted it, does not."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
