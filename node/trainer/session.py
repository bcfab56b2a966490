"""One event in one worker: the model, its base and local weights, what was trained and what was not yet sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from ...kernels import Layout
from ...protocol.event import EventManifest
from .data import Batches
from .device import use_bf16
from .errors import WorkerError
from .gates import Gates
from .models import LanguageModel
from .optimiser import AdamW
from .state import SharedState
from .training import InnerLoop


@dataclass
class Meter:
    """What was trained since the last payload: what the next contribution will claim."""

    samples: int = 0
    steps: int = 0
    loss_sum: float = 0.0
    skipped: int = 0

    def add(self, samples: int, loss: float | None) -> None:
        """Count one step; `loss` None for one that changed nothing."""
        if loss is None:
            self.skipped += 1
            return
        self.samples += samples
        self.steps += 1
        self.loss_sum += loss

    @property
    def loss(self) -> float:
        """Mean training loss in nats a token; 0 before the first step."""
        return self.loss_sum / self.steps if self.steps else 0.0


@dataclass
class Session:
    """Everything the worker holds; built by `opening.open_session`.

    `reference` is what the pseudo-gradient is measured from: the base, or the local weights as they were when the last payload
    was made on this base, so that nothing is sent twice. `outstanding` are payloads (SHA-256) that may yet be refused. The
    residual is on the model's device, so that a GPU compresses without moving more than the payload.
    """

    event: EventManifest
    peer_id: str
    work_dir: Path
    model: LanguageModel
    device: torch.device
    loop: InnerLoop
    optimiser: AdamW
    layout: Layout
    batches: Batches | None
    gates: Gates | None
    bf16: bool
    checkpoint_seconds: float
    micro_batch: int = 0
    base: SharedState | None = None
    base_hash: bytes = b""
    commit: bytes | None = None
    reference: dict[str, Tensor] = field(default_factory=dict)
    residual: dict[str, Tensor] | None = None
    outstanding: set[bytes] = field(default_factory=set)
    meter: Meter = field(default_factory=Meter)
    round: int = 0
    position: int = 0

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the weights by name."""
        return dict(self.layout.tensors)

    def require_base(self) -> SharedState:
        """Return the base. Raises WorkerError("no_base") before the first `init` or `load`."""
        if self.base is None:
            raise WorkerError("no_base", "the worker has no weights yet: init or load comes first")
        return self.base

    def require_batches(self) -> Batches:
        """Return the data. Raises WorkerError("no_data") on a node that was opened without."""
        if self.batches is None:
            raise WorkerError("no_data", "this node was started without the event's data")
        return self.batches

    def require_gates(self) -> Gates:
        """Return what runs gates. Raises WorkerError("no_data") on a node that was opened without."""
        if self.gates is None:
            raise WorkerError("no_data", "this node was started without the event's data")
        return self.gates

    def follow(self, event: EventManifest) -> None:
        """Go by another recipe of the same event; model, data and the optimiser's moments stay."""
        self.event = event
        self.bf16 = use_bf16(self.device, event.inner.bf16)
        self.optimiser.follow(event.inner.betas, event.inner.weight_decay)
        self.loop.follow(
            clip=event.inner.clip, micro_batch=self.micro_batch or event.inner.batch, bf16=self.bf16, fisher=uses_fisher(event)
        )

    def local(self) -> dict[str, Tensor]:
        """Return copies of the local weights, on the CPU."""
        with torch.no_grad():
            return {name: p.detach().to("cpu", copy=True) for name, p in self.model.weights().items()}

    def unsent(self) -> dict[str, Tensor]:
        """Return the pseudo-gradient: reference − local weights, on the model's device, where it is compressed."""
        with torch.no_grad():
            return {name: self.reference[name].to(p.device) - p.detach() for name, p in self.model.weights().items()}

    def set_local(self, weights: Mapping[str, Tensor]) -> None:
        """Set the model's parameters."""
        parameters = self.model.weights()
        with torch.no_grad():
            torch._foreach_copy_(list(parameters.values()), [weights[name] for name in parameters], non_blocking=True)

    def restart_from(self, state: SharedState, state_hash: bytes, commit: bytes | None, *, carry: bool) -> None:
        """Make `state` the base, and the local weights restart from it; with `carry` the unsent goes into the residual."""
        if carry and self.base is not None and self.meter.steps:
            self._carry(self.unsent())
        self.base, self.base_hash, self.commit = state, state_hash, commit
        self.forget_unsent()

    def forget_unsent(self) -> None:
        """Set the local weights back to the base."""
        self.reference = self.require_base().weights
        self.set_local(self.reference)
        self.meter = Meter()
        if self.loop.fisher is not None:
            self.loop.fisher.reset()

    def _carry(self, unsent: Mapping[str, Tensor]) -> None:
        # A residual with a NaN would spoil every payload to come.
        if all(bool(torch.isfinite(tensor).all()) for tensor in unsent.values()):
            self.add_to_residual(unsent)

    def add_to_residual(self, update: Mapping[str, Tensor]) -> None:
        """Carry `update` into the next payload."""
        if self.residual is None:
            self.residual = {name: tensor.to(self.device, copy=True) for name, tensor in update.items()}
        else:
            self.residual = {name: tensor + update[name].to(tensor.device) for name, tensor in self.residual.items()}


def uses_fisher(event: EventManifest) -> bool:
    """Say whether any of the event's merges weighs by Fisher diagonals, which are then estimated while training."""
    return "fisher" in (event.merge.method, event.merge.full_method)
