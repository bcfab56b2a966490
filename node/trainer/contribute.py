"""From what was trained to a payload, and back into the residual if nobody wanted it."""

from __future__ import annotations

import hashlib
import math
import os
from pathlib import Path

from torch import Tensor

from ... import kernels
from ...kernels import Codec, NonFiniteError, PayloadError
from .. import recipe
from ..failpoints import failpoint
from ..files import atomic_write
from . import checkpoint
from .errors import WorkerError, translated
from .messages import Compress, Compressed, Inspect, Inspected, Settle
from .session import Meter, Session


def codec_of(session: Session, full: bool) -> Codec:
    """Return the recipe's codec, or that of a full merge."""
    return recipe.FULL_MERGE if full else recipe.codec_of(session.event.compression)


def wants_fisher(session: Session, full: bool) -> bool:
    """Say whether contributions of such a round carry a Fisher diagonal."""
    merge = session.event.merge
    return (merge.full_method if full else merge.method) == "fisher"


def compress(session: Session, request: Compress) -> Compressed:
    """See messages.Compress. The checkpoint is saved before this returns, so a payload that was seen outlives us."""
    meter = session.meter
    if not meter.steps:
        raise WorkerError("nothing_trained", "no inner step was taken since the last payload")
    try:
        payload, residual = kernels.compress(session.unsent(), session.residual, codec_of(session, request.full))
    except NonFiniteError as error:
        session.forget_unsent()
        session.optimiser.reset()
        raise WorkerError("non_finite", "training diverged to NaN; it restarts from the base") from error
    fisher = _fisher(session, payload) if wants_fisher(session, request.full) else None
    with translated("writing the payload"):
        _sweep(session)
        answer = _written(session, meter, payload, fisher)
    failpoint("compressing", daemon=os.getppid())
    _hand_out(session, answer.sha256, residual)
    return answer


def _hand_out(session: Session, digest: bytes, residual: dict[str, Tensor]) -> None:
    """Count what was trained as sent; if that cannot be saved, it was not."""
    before = (session.residual, session.reference, session.outstanding, session.meter)
    session.residual, session.reference = residual, session.local()
    session.outstanding, session.meter = session.outstanding | {digest}, Meter()
    try:
        checkpoint.save(session)
    except WorkerError:
        session.residual, session.reference, session.outstanding, session.meter = before
        raise


def _fisher(session: Session, payload: bytes) -> bytes:
    # Without a step since a restart there is no estimate: zeros, which a merge takes for no opinion.
    diagonal = session.loop.fisher.tensors() if session.loop.fisher is not None else {}
    return kernels.compress_on_support(diagonal or session.layout.zeros(), payload)


def _written(session: Session, meter: Meter, payload: bytes, fisher: bytes | None) -> Compressed:
    path, digest = _write(session, payload)
    fisher_path, fisher_digest = _write(session, fisher) if fisher is not None else (None, None)
    return Compressed(
        path=str(path),
        sha256=digest,
        size=len(payload),
        samples=meter.samples,
        steps=meter.steps,
        loss=meter.loss,
        norm=kernels.inspect(payload, session.layout).norm,
        fisher_path=str(fisher_path) if fisher_path else None,
        fisher_sha256=fisher_digest,
        fisher_size=len(fisher or b""),
    )


def _sweep(session: Session) -> None:
    """Delete what was settled long ago and not taken away."""
    for path in _folder(session).glob("*"):
        if path.name not in {digest.hex() for digest in session.outstanding}:
            path.unlink(missing_ok=True)


def _folder(session: Session) -> Path:
    return session.work_dir / "payloads"


def _write(session: Session, data: bytes) -> tuple[Path, bytes]:
    digest = hashlib.sha256(data).digest()
    path = _folder(session) / digest.hex()
    atomic_write(path, data)
    return path, digest


def settle(session: Session, request: Settle) -> None:
    """See messages.Settle."""
    if request.sha256 not in session.outstanding:
        raise WorkerError("unknown_payload", f"payload {request.sha256.hex()[:12]} is not waiting for an answer")
    if not request.accepted:
        path = Path(request.path) if request.path else _folder(session) / request.sha256.hex()
        payload = path.read_bytes()
        if hashlib.sha256(payload).digest() != request.sha256:
            raise WorkerError("unknown_payload", f"{path} is not payload {request.sha256.hex()[:12]}")
        session.add_to_residual(kernels.decompress(payload, session.layout))
    session.outstanding.discard(request.sha256)
    if not request.accepted:
        checkpoint.save(session)


def inspect(session: Session, request: Inspect) -> Inspected:
    """See messages.Inspect. The size is compared with what the event allows before a byte is read."""
    codec = codec_of(session, request.full)
    payload = _read(request.path, kernels.max_payload_bytes(session.layout, codec))
    if payload is None:
        return Inspected(ok=False, reason="payload_size")
    try:
        found = kernels.inspect(payload, session.layout)
    except PayloadError:
        return Inspected(ok=False, reason="payload_malformed")
    sparse = codec.kind == "sparse"
    wanted = (codec.densities(session.layout), codec.value_bits) if sparse else ((), found.value_bits)
    if found.kind != codec.kind or (found.densities, found.value_bits) != wanted:
        return Inspected(ok=False, reason="payload_codec")
    if not found.norm > 0 or not math.isfinite(found.norm):
        return Inspected(ok=False, reason="payload_empty")
    if reason := _fisher_fault(session, request, payload, codec):
        return Inspected(ok=False, reason=reason)
    return Inspected(ok=True, norm=found.norm, clip=clip_of(session, found.norm))


def clip_of(session: Session, norm: float) -> float:
    """Return the factor that brings a patch of this norm to the event's largest: a float64 quotient, the same everywhere."""
    largest = session.event.merge.max_norm
    return 1.0 if norm <= largest else largest / norm


def _fisher_fault(session: Session, request: Inspect, payload: bytes, codec: Codec) -> str:
    if not wants_fisher(session, request.full):
        return "fisher_unexpected" if request.fisher_path else ""
    if request.fisher_path is None:
        return "fisher_missing"
    fisher = _read(request.fisher_path, kernels.max_support_bytes(session.layout, codec))
    if fisher is None:
        return "fisher_size"
    try:
        kernels.decompress_on_support(fisher, payload, session.layout)
    except PayloadError:
        return "fisher_malformed"
    return ""


def _read(path: str, limit: int) -> bytes | None:
    with translated("reading a payload"):
        if Path(path).stat().st_size > limit:
            return None
        return Path(path).read_bytes()
