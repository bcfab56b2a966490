"""What processes cost, which there are, and one that is made slow."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

import psutil

from collab.node.local_swarm import LocalNode, SwarmError

_AWAKE_SECONDS = 0.3


def family(pid: int) -> list[psutil.Process]:
    """Return a running process and all that it started."""
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]


def cpu_seconds(processes: Iterable[psutil.Process]) -> float:
    """Return the processor time that those of them that still run have taken."""
    return sum(sum(process.cpu_times()[:2]) for process in processes if process.is_running())


def worker_of(node: LocalNode) -> psutil.Process:
    """Return the process of a running node that trains. Raises SwarmError."""
    assert node.process is not None
    for process in family(node.process.pid):
        with suppress(psutil.NoSuchProcess):
            if "collab.node.trainer" in process.cmdline():
                return process
    raise SwarmError(f"{node.name} has no worker\n{node.tail()}")


@contextmanager
def slow(node: LocalNode, seconds: float) -> Iterator[None]:
    """Let the node's worker run for a moment every so many seconds.

    If it is the coordinator's in a swarm of less than four, which all others follow, then the whole swarm rests with it.
    """
    worker, end = worker_of(node), threading.Event()

    def doze() -> None:
        with suppress(psutil.NoSuchProcess):
            while not end.is_set():
                worker.suspend()
                end.wait(seconds)
                worker.resume()
                end.wait(_AWAKE_SECONDS)

    thread = threading.Thread(target=doze, daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()
