"""One variant, run: its daemons started, watched from their first step to their last commit, and read."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from safetensors import safe_open

from collab.node.display.rounds_table import RoundRow
from collab.node.event.create import create_event
from collab.node.home import Home
from collab.node.local_swarm import LocalNode, LocalSwarm, SwarmError
from collab.node.reading import open_store, read_view
from collab.node.store import Store
from collab.protocol.event import EventDraft

from .figures import Outcome
from .pages import Page, bytes_between, overhead_share, read_page

LOOK_SECONDS = 0.1
STALL_SECONDS = 120.0


@dataclass
class Watched:
    """A node that trains. Moments are in seconds of the monotonic clock, None until they have come."""

    node: LocalNode
    last_round: int
    round: int = 0
    stepped_at: float | None = None
    finished_at: float | None = None
    first: Page | None = None
    last: Page | None = None

    def look(self) -> None:
        """Ask the node where it is. Raises SwarmError if it ended before its last round."""
        if self.last is not None:
            return
        status, now = self.node.status(), time.monotonic()
        if status is None:
            if self.node.process is not None and not self.node.alive:
                raise SwarmError(f"{self.node.name} ended too early\n{self.node.tail()}")
            return
        self.round = int(status["round"])
        if self.stepped_at is None and (status["step"] >= 1 or self.round >= 1):
            self.stepped_at = now
        if self.first is None and self.round >= 1:
            self.first = read_page(status["metrics_port"])
        if self.finished_at is None and self.round >= self.last_round:
            self.finished_at = now
        if status["phase"] == "serving":
            self.last = read_page(status["metrics_port"])


@dataclass
class Training:
    """A variant's swarm. The coordinator's node trains too."""

    name: str
    event: EventDraft
    swarm: LocalSwarm
    watched: list[Watched] = field(default_factory=list)

    def start(self) -> None:
        """Create the event and start the coordinator's node."""
        create_event(Home(self.swarm.add().home), self.event)
        self.watch(self.swarm.seed())

    def watch(self, *nodes: LocalNode) -> None:
        """Count `nodes` among those that train."""
        self.watched += [Watched(node, self.event.rounds.last_round) for node in nodes]

    def join_timed(self) -> float:
        """Let one volunteer join, and return the seconds until its first inner step."""
        (node,) = self.swarm.join()
        self.watch(node)
        newest = self.watched[-1]
        wait_until([self], lambda: newest.stepped_at is not None, f"{node.name}'s first step")
        assert newest.stepped_at is not None
        return newest.stepped_at - node.started

    def waits_for_others(self) -> bool:
        """Say whether the coordinator's node has taken its steps, and waits for more contributors."""
        status = self.swarm.coordinator.status()
        return status is not None and status["phase"] == "collecting"

    @property
    def finished(self) -> bool:
        """Whether every node has the last commit, and its page was read."""
        return all(watched.last is not None for watched in self.watched)

    @property
    def round(self) -> int:
        """The newest round that every node has the commit of."""
        return min(watched.round for watched in self.watched)

    def outcome(self) -> Outcome:
        """Return what the finished training gave."""
        coordinator = Home(self.swarm.coordinator.home)
        loss = float(self.swarm.coordinator.ask("evaluate", timeout=STALL_SECONDS)["loss"])
        with open_store(coordinator.find_event()) as store:
            rows = [RoundRow.of(commit) for commit in store.chain() if commit.parents]
            parameters = count_parameters(store)
        pages = [(watched.first, watched.last) for watched in self.watched if watched.first and watched.last]
        shares = [share for first, last in pages if (share := overhead_share(first, last)) is not None]
        return Outcome(
            loss=loss,
            samples=sum(row.samples for row in rows),
            bytes_per_node_round=sum(row.bytes_sent for row in rows) / max(1, sum(row.contributors for row in rows)),
            network_bytes_per_node_round=bytes_between(pages) / len(pages) / max(1, len(rows) - 1),
            seconds=max(watched.finished_at or 0.0 for watched in self.watched)
            - max(watched.stepped_at or 0.0 for watched in self.watched),
            overhead_share=median(shares),
            states=tuple(read_view(Home(watched.node.home)).state for watched in self.watched),
            parameters=parameters,
        )


def wait_until(trainings: Sequence[Training], condition: Callable[[], bool], what: str) -> None:
    """Look at the nodes of all `trainings` until `condition`. Raises SwarmError when no round ends for STALL_SECONDS."""
    deadline, rounds = time.monotonic() + STALL_SECONDS, -1
    while not condition():
        for watched in (watched for training in trainings for watched in training.watched):
            watched.look()
        reached = sum(watched.round for training in trainings for watched in training.watched)
        if reached > rounds:
            rounds, deadline = reached, time.monotonic() + STALL_SECONDS
        if time.monotonic() > deadline:
            tails = "\n".join(f"--- {w.node.name}\n{w.node.tail()}" for training in trainings for w in training.watched)
            raise SwarmError(f"waited {STALL_SECONDS:.0f} s for {what}\n{tails}")
        time.sleep(LOOK_SECONDS)


def count_parameters(store: Store) -> int:
    """Return the number of weights in the store's oldest snapshot, the event's first state."""
    path = store.blobs.path(store.snapshots()[-1].blob.digest)
    count = 0
    with safe_open(path, framework="numpy") as file:
        for name in file.keys():  # noqa: SIM118
            size = 1
            for length in file.get_slice(name).get_shape():
                size *= length
            count += size
    return count


@contextlib.contextmanager
def training(name: str, event: EventDraft, root: Path) -> Iterator[Training]:
    """Give a variant's training in a folder of its own; its nodes are stopped at the end, whatever happens."""
    swarm = LocalSwarm(root / name, common=["--threads", "1", "--device", "cpu"])
    try:
        yield Training(name, event, swarm)
    finally:
        swarm.stop()
