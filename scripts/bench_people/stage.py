"""What the groups of figures share: a swarm that people join. It is set up in the background, while others measure."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path

from collab.node.local_swarm import LocalNode, LocalSwarm

from .event import write_event
from .processes import slow

_STEP_SECONDS = 180.0
_PAUSE_SECONDS = 2.0


class Stage:
    """`folder` is for whatever is measured; `quick` says how long that may take."""

    def __init__(self, folder: Path, *, quick: bool, swarm: bool) -> None:
        """Begin to set up the `swarm` if one is wanted."""
        self.folder = folder
        self.quick = quick
        self._stack = ExitStack()
        self._background = ThreadPoolExecutor(1)
        self._swarm = self._background.submit(self._stack.enter_context, _resting_swarm(folder / "swarm")) if swarm else None

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *_: object) -> None:
        self._background.shutdown()
        self._stack.close()

    def quiet(self) -> None:
        """Wait until nothing is being set up beside what is measured; whether it could be is another's business."""
        if self._swarm is not None:
            self._swarm.exception()

    @cached_property
    def swarm(self) -> LocalSwarm:
        """The swarm, once it is there. Raises SwarmError."""
        assert self._swarm is not None
        return self._swarm.result()


@contextmanager
def watched_swarm(folder: Path) -> Iterator[LocalSwarm]:
    """A coordinator's node that evaluates, in an event by invitation, and a volunteer's that shares its metrics."""
    settings = folder / "evaluates.toml"
    swarm = LocalSwarm(folder)
    swarm.create(write_event(folder / "event.toml", {"admission": {"mode": None}}), "--invited")
    settings.write_text("evaluate_every = 1\n", encoding="utf-8")
    try:
        swarm.seed(trains=False, arguments=["--config", str(settings)])
        swarm.join(arguments=["--share-metrics"])
        yield swarm
    finally:
        swarm.stop()


@contextmanager
def _resting_swarm(folder: Path) -> Iterator[LocalSwarm]:
    """One whose volunteer leaves the machine to what is measured, most of the time."""
    with watched_swarm(folder) as swarm:
        wait_for_a_step(swarm, swarm.nodes[1])
        with slow(swarm.nodes[1], _PAUSE_SECONDS):
            yield swarm


def wait_for_a_step(swarm: LocalSwarm, node: LocalNode) -> None:
    """Wait until a volunteer that was just started has taken an inner step. Raises SwarmError."""
    swarm.wait(lambda: int((node.status() or {}).get("step", 0)) > 0, _STEP_SECONDS, "the first inner step", watch=[node])
