"""Making modules of what a version reads: a head trained on labelled texts, a datastore of text that it has seen."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor

from ....protocol.errors import RemoteProtocolError
from ....protocol.gates import HeadGate, LossGate, decode_gate
from ...files import atomic_write, make_folder
from ...modules import datastore, head
from ..data import Batches
from ..errors import WorkerError, translated
from ..gates.request import version_of
from ..gates.version import Version, reading
from ..merging import Candidates
from ..messages import MadeModule, MakeModule
from ..models import IGNORED
from ..session import Session
from ..tensor_file import write_tensors

_AT_ONCE = 32


def make_module(session: Session, candidates: Candidates, request: MakeModule) -> MadeModule:
    """See messages.MakeModule."""
    try:
        gate = decode_gate(request.gate)
    except RemoteProtocolError as error:
        raise WorkerError("bad_request", f"gate: {error}") from error
    gates, folder = session.require_gates(), Path(request.folder)
    with translated("making a module"), reading(session.model):
        version = version_of(session, candidates, request.version)
        match gate:
            case HeadGate():
                trained = gates.heads_of(gate).trained(version)
                weight = trained.weight.float()
                return _write(folder, head.WEIGHTS, {
                    "classes.weight": weight[:, :-1].contiguous(), "classes.bias": weight[:, -1].contiguous()
                }, head.CONFIG, json.dumps({"labels": trained.labels}), len(trained.labels))  # fmt: skip
            case LossGate():
                keys, values = _seen(version, gates.batches_of(gate), gate.shard, request.entries)
                if len(keys) < (k := datastore.DatastoreConfig.model_validate_json(request.settings).k):
                    raise WorkerError("no_data", f"{len(keys)} entries are fewer than the {k} neighbours that are asked")
                tensors = {"keys": keys, "values": values}
                return _write(folder, datastore.WEIGHTS, tensors, datastore.CONFIG, request.settings, len(keys))
        raise WorkerError("bad_request", f"a gate of kind {gate.kind} has no data to make a module of")


def _seen(version: Version, batches: Batches, shard: tuple[int, int], entries: int) -> tuple[Tensor, Tensor]:
    """Return hidden states, (entries, width) in fp16, and the tokens that their scores were for, (entries,)."""
    blocks = range(shard[0], batches.held_out_samples, shard[1])
    keys: list[Tensor] = []
    values: list[Tensor] = []
    for start in range(0, len(blocks), _AT_ONCE):
        batch = batches.held_out_at(blocks[start : start + _AT_ONCE])
        wanted = batch.targets != IGNORED
        keys.append(version.hidden(batch.inputs).cpu()[wanted].half())
        values.append(batch.targets[wanted].int())
        if sum(map(len, values)) >= entries:
            break
    if not keys:
        raise WorkerError("no_data", "the data has not one block to remember")
    found = torch.cat(keys)[:entries]
    if not bool(torch.isfinite(found).all()):
        raise WorkerError("non_finite", "the base's hidden states are not finite, or too large for fp16")
    return found, torch.cat(values)[:entries]


def _write(folder: Path, weights: str, tensors: dict[str, Tensor], config: str, settings: str, size: int) -> MadeModule:
    make_folder(folder)
    write_tensors(folder / weights, tensors)
    atomic_write(folder / config, (settings + "\n").encode())
    return MadeModule(size=size)
