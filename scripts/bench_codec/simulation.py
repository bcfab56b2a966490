"""A swarm's rounds in one process: the trainer's own model, data, inner loop and merge, without the network.

Workers train one after the other on the same module; what a worker owns is its optimiser's moments and its residual. Samples are
drawn as the daemon draws them, by (event, round, worker).
"""

from __future__ import annotations

import hashlib
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from collab.kernels.outer import nesterov
from collab.node.trainer.data import Batches, prepare
from collab.node.trainer.evaluate import mean_loss
from collab.node.trainer.models import build
from collab.node.trainer.optimiser import AdamW
from collab.node.trainer.schedule import learning_rate, swarm_samples
from collab.node.trainer.training import InnerLoop
from collab.protocol.event import EventDraft, EventManifest, Start
from collab.protocol.identity import Identity

from .compressors import Compressor, Weights

Merge = Callable[[list[dict[str, Tensor]]], dict[str, Tensor]]


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
    optimiser: AdamW
    residual: Weights | None = None


@dataclass
class Simulation:
    """One event, one way to send, one seed. `workers` × the event's rounds of inner steps."""

    event: EventDraft
    compressor: Compressor
    outer: Outer
    merge: Merge
    seed: int
    workers: int = 4
    rounds: int = 20
    cache: Path = Path()
    losses: list[float] = field(default_factory=list)

    def run(self, told: Callable[[str], None] = lambda text: None) -> Ended:
        """Train; `told` hears of every round."""
        inner = self.event.inner
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
        workers = [
            Worker(f"worker-{number}", AdamW(self.parameters, inner.betas, inner.weight_decay)) for number in range(self.workers)
        ]
        base = {name: parameter.detach().clone() for name, parameter in self.parameters.items()}
        momentum = {name: torch.zeros_like(tensor) for name, tensor in base.items()}
        bits: list[int] = []
        errors: list[float] = []
        for number in range(1, self.rounds + 1):
            updates = []
            for worker in workers:
                sent_bits, error, update = self._contribution(worker, base, number)
                bits.append(sent_bits)
                errors.append(error)
                updates.append(update)
            step = self.merge(updates)
            base, momentum = nesterov(base, momentum, step, rate=self.outer.rate, momentum_factor=self.outer.momentum)
            if number % 5 == 0 or number == self.rounds:
                self.losses.append(self._loss(base))
                told(f"round {number} of {self.rounds}: held-out loss {self.losses[-1]:.4f}")
        count = sum(tensor.numel() for tensor in base.values())
        return Ended(self.losses[-1], statistics.fmean(bits) / count, statistics.fmean(errors), tuple(self.losses))

    def _contribution(self, worker: Worker, base: Weights, number: int) -> tuple[int, float, dict[str, Tensor]]:
        self._set(base)
        self._train(worker, number)
        delta = {name: base[name] - parameter.detach() for name, parameter in self.parameters.items()}
        sent = self.compressor.send(delta, worker.residual, (number - 1) / self.rounds)
        worker.residual = sent.residual
        left = sum(float(tensor.square().sum()) for tensor in sent.residual.values())
        total = sum(float((tensor + sent.update[name]).square().sum()) for name, tensor in sent.residual.items())
        return sent.bits, left / total, sent.update

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


def average(updates: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The plain mean."""
    return {name: torch.stack([update[name] for update in updates]).mean(dim=0) for name in updates[0]}


def sparse_average(updates: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """As kernels/merge/sparse_average.py, for contributors of equal weight: the mean over the root of the share who speak."""
    merged = average(updates)
    for name, mean in merged.items():
        speaking = torch.stack([update[name] != 0 for update in updates]).float().mean(dim=0)
        merged[name] = mean / torch.where(speaking > 0, speaking.sqrt(), 1.0)
    return merged
