"""A swarm's rounds in one process: the trainer's own model, data, inner loop and merge, without the network.

Workers train one after the other on the same module; what a worker owns is its optimiser's moments and its residual. Samples are
drawn as the daemon draws them, by (event, round, worker).
"""

from __future__ import annotations

import hashlib
import statistics
from dataclasses import dataclass, field
from pathlib import Path

import torch

from collab import kernels
from collab.kernels import Layout
from collab.kernels.merge import Contribution, merge
from collab.kernels.outer import nesterov
from collab.node.trainer.data import Batches, prepare
from collab.node.trainer.evaluate import mean_loss
from collab.node.trainer.models import build
from collab.node.trainer.optimiser import Optimiser, make_optimiser
from collab.node.trainer.schedule import learning_rate, swarm_samples
from collab.node.trainer.training import InnerLoop
from collab.protocol.event import EventDraft, EventManifest, Start
from collab.protocol.identity import Identity

from .compressors import Compressor, Sent, Weights


@dataclass(frozen=True)
class Outer:
    """The step on the shared weights: SGD, with Nesterov momentum if it is not 0."""

    rate: float
    momentum: float = 0.0


@dataclass(frozen=True)
class Ended:
    """What a run came to. `relative_error`: the mean over contributions of |total − sent|² / |total|²."""

    end_loss: float
    bits_per_parameter: float
    relative_error: float
    losses: tuple[float, ...] = ()


@dataclass
class Worker:
    """What one worker keeps from round to round."""

    name: str
    optimiser: Optimiser
    residual: Weights | None = None


@dataclass
class Simulation:
    """One event, one way to send, a merge method of `kernels`, one seed. The event says how many rounds there are."""

    event: EventDraft
    compressor: Compressor
    outer: Outer
    merge: str
    seed: int
    workers: int = 4
    cache: Path = Path()
    losses: list[float] = field(default_factory=list)

    def run(self) -> Ended:
        """Train."""
        self.model = build(_manifest(self.event, self.seed))
        self.model.initialise(self.seed)
        self.parameters = self.model.weights()
        self.batches = Batches(
            prepare(self.event.data, self.cache, self.cache),
            self.event.data.block,
            self.model.objective,
            0.0 if self.event.model.family == "gpt" else self.event.model.mask_share,
        )
        self.name = hashlib.sha256(f"{self.event.name}/{self.seed}".encode()).digest()
        workers = [Worker(f"worker-{number}", make_optimiser(self.event.inner, self.model)) for number in range(self.workers)]
        base = {name: parameter.detach().clone() for name, parameter in self.parameters.items()}
        momentum = {name: torch.zeros_like(tensor) for name, tensor in base.items()}
        bits: list[int] = []
        errors: list[float] = []
        layout = Layout.of(base)
        for number in range(1, self.rounds + 1):
            contributions = []
            for worker in workers:
                sent, error = self._sent(worker, base, number)
                bits.append(sent.bits)
                errors.append(error)
                contributions.append(Contribution(sent.payload, 1 / self.workers))
            step = merge(self.merge, layout, contributions, cap=self.event.merge.cap)
            base, momentum = nesterov(base, momentum, step, rate=self.outer.rate, momentum_factor=self.outer.momentum)
            if number % 5 == 0 or number == self.rounds:
                self.losses.append(self._loss(base))
        count = sum(tensor.numel() for tensor in base.values())
        return Ended(self.losses[-1], statistics.fmean(bits) / count, statistics.fmean(errors), tuple(self.losses))

    @property
    def rounds(self) -> int:
        return self.event.rounds.last_round

    def _sent(self, worker: Worker, base: Weights, number: int) -> tuple[Sent, float]:
        """What the worker sends of this round, and its relative error."""
        self._set(base)
        self._train(worker, number)
        delta = {name: base[name] - parameter.detach() for name, parameter in self.parameters.items()}
        sent = self.compressor.send(delta, worker.residual, (number - 1) / self.rounds)
        worker.residual = sent.residual
        update = kernels.decompress(sent.payload, Layout.of(delta))
        left = sum(float(tensor.square().sum()) for tensor in sent.residual.values())
        total = sum(float((tensor + update[name]).square().sum()) for name, tensor in sent.residual.items())
        return sent, left / total

    def _train(self, worker: Worker, number: int) -> None:
        inner = self.event.inner
        loop = InnerLoop(self.model, worker.optimiser, clip=inner.clip, micro_batch=inner.batch, bf16=False, fisher=False)
        before = (number - 1) * self.workers * inner.steps * inner.batch
        for step in range(inner.steps):
            batch = self.batches.draw(self.name, number, worker.name, step * inner.batch, inner.batch)
            loop.step(batch, learning_rate(inner, swarm_samples(before, step * inner.batch, self.workers)))

    def _set(self, weights: Weights) -> None:
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(weights[name])

    def _loss(self, weights: Weights) -> float:
        held_out = self.batches.held_out(self.event.data.held_out_samples, 64)
        return mean_loss(self.model, held_out, weights)[0]


def _manifest(event: EventDraft, seed: int) -> EventManifest:
    """The event as if it had been created; nobody signs or joins it."""
    return event.manifest(Identity(bytes(32)).peer_id, 0, Start(state=bytes(32), seed=seed))

