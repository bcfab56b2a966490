"""Loss and perplexity on held-out blocks, drawn in an order that only the two versions' hashes decide."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator

import torch.nn.functional as F

from ....protocol.gates import LossGate
from ....protocol.gates_interval import PairedMean
from ....protocol.gates_sampling import draw
from ....protocol.verdict import Measurement
from ..data import Batch, Batches
from ..models import IGNORED
from .sequential import Pair, run_pairs
from .version import Version

_LARGEST_EXPONENT = 700.0


def blocks_of(gate: LossGate, available: int, seed: bytes) -> list[int]:
    """Return the blocks that the gate may look at, in order: a sample without replacement of its shard."""
    shard = range(gate.shard[0], available, gate.shard[1])
    return [shard[at] for at in draw(seed, len(shard), gate.batch * gate.max_batches)]


def measure_loss(
    gate: LossGate, batches: Batches, base: Version, candidate: Version, seed: bytes, whole: bool = False
) -> tuple[Measurement, bytes]:
    """Run the gate; return what it showed and the hash of the blocks that it could look at."""
    drawn = blocks_of(gate, batches.held_out_samples, seed)
    parts = [drawn[start : start + gate.batch] for start in range(0, len(drawn), gate.batch)]
    sign = 1.0 if gate.direction == "lower" else -1.0
    relative = gate.kind == "perplexity"
    tolerance = math.log1p(gate.tolerance) if relative else gate.tolerance
    pairs = _pairs(batches, parts, base, candidate)
    measured, _ = run_pairs(gate, PairedMean(gate.significance), pairs, tolerance=tolerance, sign=sign, whole=whole)
    return _as_perplexity(measured) if relative else measured, _digest(batches, parts)


def _pairs(batches: Batches, parts: list[list[int]], base: Version, candidate: Version) -> Iterator[Pair]:
    for part in parts:
        batch = batches.held_out_at(part)
        yield block_losses(base, batch), block_losses(candidate, batch)


def block_losses(version: Version, batch: Batch) -> list[float]:
    """Return the mean loss of each block in nats a token."""
    logits, targets = version.logits(batch.inputs), batch.targets.to(version.device)
    losses = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="none")
    counted = (targets != IGNORED).sum(1)
    means: list[float] = (losses.view(targets.shape).sum(1) / counted).tolist()
    return means


def _digest(batches: Batches, parts: list[list[int]]) -> bytes:
    seen = hashlib.sha256()
    for part in parts:
        batch = batches.held_out_at(part)
        seen.update(batch.inputs.numpy().tobytes() + batch.targets.numpy().tobytes())
    return seen.digest()


def _as_perplexity(loss: Measurement) -> Measurement:
    """Turn mean losses into perplexities, and their change into a relative one."""
    if loss.change is None:
        return loss
    assert loss.base is not None
    assert loss.candidate is not None
    return loss.model_copy(update={
        "base": _bounded(math.exp, loss.base), "candidate": _bounded(math.exp, loss.candidate),
        "change": _bounded(math.expm1, loss.change), "low": None if loss.low is None else _bounded(math.expm1, loss.low),
        "high": None if loss.high is None else _bounded(math.expm1, loss.high),
    })  # fmt: skip


def _bounded(function: Callable[[float], float], value: float) -> float:
    return function(min(value, _LARGEST_EXPONENT))
