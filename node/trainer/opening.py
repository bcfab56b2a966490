"""Opening an event in a worker: the device, the model and the data, and what an earlier life left."""

from __future__ import annotations

from pathlib import Path

import torch

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
from .session import Session, uses_fisher
from .training import InnerLoop


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
        fisher=uses_fisher(event),
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
