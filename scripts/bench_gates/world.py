"""A model trained for some seconds, its gates, and ways to train it further, in one process and with the trainer's own parts."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from collab.node.trainer.data import Batch
from collab.node.trainer.gates.losses import block_losses
from collab.node.trainer.gates.version import Version
from collab.node.trainer.messages import Open
from collab.node.trainer.opening import open_session
from collab.node.trainer.start import first_state
from collab.node.trainer.state import SharedState
from collab.protocol.event import (
    Admission,
    Compression,
    Data,
    EventManifest,
    GptModel,
    InnerOptimiser,
    Merge,
    OuterOptimiser,
    Rounds,
    Start,
)  # fmt: skip
from collab.protocol.gates import EventGate, ExactGate, LossGate
from collab.protocol.identity import Identity
from collab.protocol.verdict import Measurement

from .texts import DOORS, TASKS, door_cases, door_line, line, write_texts

Weights = dict[str, Tensor]
Lines = Callable[[random.Random], str]
BLOCK = 32
TOLERANCE = 0.03
_MEASURED = 200
_LESSONS, _LESSON_STEPS = 20, 40
_PEER = Identity(bytes(32)).peer_id


def gates() -> tuple[EventGate, ...]:
    """A loss gate for each task, and the exact gate for the doors."""
    losses = tuple(LossGate(name=task, kind="loss", path=f"{task}.txt", tolerance=TOLERANCE) for task in TASKS)
    return *losses, ExactGate(name="doors", kind="exact", cases=door_cases())


def event() -> EventManifest:
    """The event that the model belongs to."""
    return EventManifest(
        name="planted", coordinator=_PEER, created=0, start=Start(state=bytes(32), seed=1),
        model=GptModel(family="gpt", layers=2, width=32, heads=2),
        data=Data(source="text", path="text.txt", block=BLOCK, held_out=0.05),
        inner=InnerOptimiser(), compression=Compression(), outer=OuterOptimiser(), merge=Merge(), rounds=Rounds(),
        admission=Admission(), gate=gates(),
    )  # fmt: skip


class World:
    """The base version, and everything that is done to it."""

    def __init__(self, folder: Path, steps: int = 300) -> None:
        """Write the texts into `folder` and train the base for so many steps."""
        write_texts(folder)
        self.folder = folder
        self.event = event()
        request = Open(
            manifest=self.event.encode(), peer_id=_PEER, work_dir=str(folder / "work"), data_dir=str(folder),
            cache_dir=str(folder / "cache"), device="cpu", threads=1,
        )  # fmt: skip
        self._session, _ = open_session(request)
        self._start(first_state(self.event, seed=1).weights)
        drawn = (self._session.require_batches().draw(self.event.digest, 0, _PEER, 16 * at, 16) for at in range(steps))
        self._steps(drawn, lambda at: 1e-2 * (1.0 - 0.7 * at / steps))
        self.base = self._session.local()
        self._learn_doors()

    def _learn_doors(self) -> None:
        """Train the base on until it answers for every key: only what it knows can be spoiled, and processors round unlike."""
        exact = self.event.gate[-1]
        for lesson in range(_LESSONS):
            if self.compare(exact, self.base, 0).base == 1:
                return
            self.base = self.trained(_lesson, _LESSON_STEPS, 3e-3, lesson)
        raise RuntimeError(f"the planted model did not learn its doors in {_LESSONS} lessons")

    def trained(self, lines: Lines, steps: int, rate: float, seed: int) -> Weights:
        """Return the base trained on for so many steps on lines that `lines` writes."""
        self._start(self.base)
        chance = random.Random(seed)
        self._steps((batch_of([lines(chance) for _ in range(16)]) for _ in range(steps)), lambda at: rate)
        return self._session.local()

    def loss(self, weights: Weights, lines: Lines) -> float:
        """Return the mean loss in nats a token on what `lines` writes, always the same lines."""
        chance = random.Random(99)
        version, batch = self._version(weights), batch_of([lines(chance) for _ in range(_MEASURED)])
        with torch.no_grad():
            losses = block_losses(version, batch)
        return sum(losses) / len(losses)

    def compare(self, gate: EventGate, candidate: Weights, seed: int) -> Measurement:
        """Run one gate on the base and a candidate."""
        base, new = self._version(self.base), self._version(candidate)
        measured, _ = self._session.require_gates().run(gate, base, new, seed.to_bytes(8, "big"))
        return measured

    def _version(self, weights: Weights) -> Version:
        return Version(self._session.model, weights, SharedState(weights).hash())

    def _start(self, weights: Weights) -> None:
        self._session.set_local(weights)
        self._session.optimiser.reset()

    def _steps(self, batches: Iterable[Batch], rate: Callable[[int], float]) -> None:
        for at, batch in enumerate(batches):
            self._session.loop.step(batch, rate(at))


def _lesson(chance: random.Random) -> str:
    key = chance.choice(list(DOORS))
    return door_line(key, DOORS[key]) if chance.random() < 0.5 else line(chance.choice(list(TASKS)), chance)


def batch_of(lines: Sequence[str]) -> Batch:
    """Return the lines as the corpus has them, one after the other, in blocks; what is left over is dropped."""
    stream = np.frombuffer("".join(text + "\n\n\0" for text in lines).encode(), dtype=np.uint8)
    ids = stream[: len(stream) // (BLOCK + 1) * (BLOCK + 1)].reshape(-1, BLOCK + 1).astype(np.int64)
    return Batch.of(np.ascontiguousarray(ids[:, :-1]), np.ascontiguousarray(ids[:, 1:]))


def mixed(base: Weights, other: Weights, share: float) -> Weights:
    """Return base + share · (other − base)."""
    return {name: torch.lerp(weight, other[name], share) for name, weight in base.items()}
