"""One event in one worker: the model, its base and local weights, what was trained and what was not yet sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from ...kernels import Layout
from ...protocol.amendments import AmendedEvent
from ...protocol.canonical import DOCUMENT_LIMITS, decode
from ...protocol.errors import RemoteProtocolError
from ...protocol.event import EventManifest
from . import checkpoint
from .data import Batches, prepare
from .device import choose_device, limit_memory, use_bf16
from .errors import WorkerError, translated
from .gates import Gates
from .messages import Open, Restored
from .models import LanguageModel, build
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
    """Everything the worker holds; built by `open_session`.

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
            clip=event.inner.clip, micro_batch=self.micro_batch or event.inner.batch, bf16=self.bf16, fisher=_uses_fisher(event)
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

    def save(self) -> None:
        """Save the checkpoint. Raises WorkerError("no_space")."""
        if self.base is not None:
            with translated("saving the checkpoint"):
                checkpoint.save(self)


def open_session(request: Open) -> tuple[Session, Restored | None]:
    """Build the event's session, and take up what an earlier one left in `work_dir`. Raises WorkerError."""
    event = read_event(request.manifest)
    if request.threads:
        torch.set_num_threads(request.threads)
    device = choose_device(request.device)
    limit_memory(device, request.gpu_memory)
    bf16 = use_bf16(device, event.inner.bf16)
    with translated("building the model"):
        model = build(event).to(device)
        optimiser = AdamW(model.weights(), event.inner.betas, event.inner.weight_decay)
    loop = InnerLoop(
        model,
        optimiser,
        clip=event.inner.clip,
        micro_batch=request.micro_batch or event.inner.batch,
        bf16=bf16,
        fisher=_uses_fisher(event),
    )
    batches = _batches(event, model, request) if request.data else None
    session = Session(
        event=event,
        peer_id=request.peer_id,
        work_dir=Path(request.work_dir),
        model=model,
        device=device,
        loop=loop,
        optimiser=optimiser,
        layout=Layout.of({name: p.detach() for name, p in model.weights().items()}),
        batches=batches,
        gates=_gates(event, model, batches, request) if batches is not None else None,
        bf16=bf16,
        checkpoint_seconds=request.checkpoint_seconds,
        micro_batch=request.micro_batch,
    )
    with translated("reading the checkpoint"):
        return session, checkpoint.restore(session)


def _uses_fisher(event: EventManifest) -> bool:
    return "fisher" in (event.merge.method, event.merge.full_method)


def read_event(manifest: bytes) -> EventManifest:
    """Return the event as it was created, or as amendments left it. Raises WorkerError("bad_manifest")."""
    try:
        fields = decode(manifest, DOCUMENT_LIMITS)
        kind = AmendedEvent if isinstance(fields, dict) and "amendment" in fields else EventManifest
        return kind.decode(manifest, DOCUMENT_LIMITS)
    except RemoteProtocolError as error:
        raise WorkerError("bad_manifest", f"the event cannot be read: {error}") from error


def _batches(event: EventManifest, model: LanguageModel, request: Open) -> Batches:
    corpus = prepare(event.data, Path(request.data_dir), Path(request.cache_dir))
    mask_share = 0.0 if event.model.family == "gpt" else event.model.mask_share
    batches = Batches(corpus, event.data.block, model.objective, mask_share)
    if batches.vocabulary > model.vocabulary:
        text = f"the tokenizer has {batches.vocabulary} ids, but the event's model only {model.vocabulary}"
        raise WorkerError("bad_model", text)
    return batches


def _gates(event: EventManifest, model: LanguageModel, batches: Batches, request: Open) -> Gates:
    gates = Gates(event, model, batches, Path(request.data_dir), Path(request.cache_dir))
    with translated("preparing the gates"):
        gates.prepare(event.round_gates())
    return gates
