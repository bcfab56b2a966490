"""`invite_to_first_step_seconds` and `yield_seconds`: a volunteer on a new home, whose owner then needs the machine."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from statistics import median
from typing import Any

from collab.node.local_swarm import LocalNode, LocalSwarm, run
from collab.node.manners.gpus import load_nvml
from collab.node.manners.senses import Touches

from .processes import worker_of
from .stage import Stage, wait_for_a_step

DEFINITIONS = {
    "invite_to_first_step_seconds": "from the start of `join INVITE` on a new home to the first inner step; median of the runs",
    "yield_seconds": "from the moment that the machine is wanted to the end of the worker's process, which gives its memory back",
    "yield_sense": "what told the node: a program on the GPU, the owner in a terminal, or programs that keep the processor busy",
}
_IDLE_SECONDS = 60.0
_OTHERS_CPU = 40
_YIELD_SECONDS = 60.0
_BURNER = "while True: pass"
_ON_GPU = "import torch\nx = torch.ones(1 << 20, device='cuda')\nprint('here', flush=True)\nwhile True: x = (x + 1).sqrt()"


def measure(stage: Stage) -> dict[str, Any]:
    """Return the figures. Raises SwarmError."""
    swarm, sense = stage.swarm, _sense()
    took = []
    for _ in range(1 if stage.quick else 3):
        seconds, volunteer = _join(swarm, sense)
        took.append(seconds)
        if len(took) > 1:
            _end(swarm.nodes.pop(-2))
    return {
        "invite_to_first_step_seconds": round(median(took), 2), "yield_seconds": round(_yield(swarm, volunteer, sense), 2),
        "yield_sense": sense,
    }  # fmt: skip


def _join(swarm: LocalSwarm, sense: str) -> tuple[float, LocalNode]:
    """Return how long a new volunteer took to its first inner step, and the volunteer."""
    invite = run("event", "invite", "--uses", "1", "--expires", "1h", "--home", str(swarm.coordinator.home)).strip()
    limits = {"owner": ["--limit", "idle_minutes=1"], "cpu": ["--limit", f"others_cpu={_OTHERS_CPU}"], "gpu": []}[sense]
    volunteer = swarm.add()
    started = time.monotonic()
    volunteer.start(["join", invite, "--host", "127.0.0.1", *limits])
    wait_for_a_step(swarm, volunteer)
    return time.monotonic() - started, volunteer


def _end(node: LocalNode) -> None:
    node.interrupt()
    node.wait()


def _sense() -> str:
    """Return what can be made to happen here: a terminal says nothing if somebody types in one anyway."""
    if load_nvml() is not None:
        import torch

        if torch.cuda.is_available():
            return "gpu"
    idle = Touches().idle_seconds()
    return "owner" if idle is None or idle > _IDLE_SECONDS else "cpu"


def _yield(swarm: LocalSwarm, volunteer: LocalNode, sense: str) -> float:
    worker = worker_of(volunteer)
    with {"gpu": _another_program_on_the_gpu, "owner": _owner, "cpu": _busy_programs}[sense]():
        wanted = time.monotonic()
        swarm.wait(lambda: not worker.is_running(), _YIELD_SECONDS, "the worker to go", watch=[volunteer])
        return time.monotonic() - wanted


@contextmanager
def _owner() -> Iterator[None]:
    """The owner opens a terminal."""
    ends = os.openpty()
    try:
        yield
    finally:
        for end in ends:
            os.close(end)


@contextmanager
def _another_program_on_the_gpu() -> Iterator[None]:
    with _program(_ON_GPU, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        program.stdout.readline()
        yield


@contextmanager
def _busy_programs() -> Iterator[None]:
    """A program on every core."""
    with ExitStack() as running:
        for _ in range(os.cpu_count() or 1):
            running.enter_context(_program(_BURNER))
        yield


@contextmanager
def _program(text: str, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    program = subprocess.Popen([sys.executable, "-c", text], **options)
    try:
        yield program
    finally:
        program.kill()
        program.wait()
