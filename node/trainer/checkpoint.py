"""What a worker needs to go on after it was killed: one safetensors file, replaced whole.

Tensors `base/…`, `local/…`, `reference/…` (where it is not the base), `residual/…` and `inner/…` (the optimiser's moments), and
a note in canonical msgpack with everything that is no tensor. The base's state hash is checked when it is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ...protocol.canonical import DOCUMENT_LIMITS, decode, encode
from ...protocol.errors import RemoteProtocolError
from .errors import WorkerError, translated
from .messages import Restored
from .session import Session
from .state import SharedState, shapes_of_state
from .tensor_file import read_note, read_tensors, write_tensors

_FORMAT = 1
_NAME = "checkpoint.safetensors"


def save(session: Session) -> None:
    """Write the session's checkpoint, atomically; nothing while it has no base. Raises WorkerError("no_space")."""
    if session.base is not None:
        with translated("saving the checkpoint"):
            write_tensors(path_of(session), _tensors(session, session.base), encode(_facts(session)).hex())


def _tensors(session: Session, base: SharedState) -> dict[str, Tensor]:
    tensors = {
        **_named("base/", base.tensors()),
        **_named("local/", session.local()),
        **_named("residual/", {name: tensor.cpu() for name, tensor in (session.residual or {}).items()}),
        **_named("inner/", session.optimiser.tensors()),
    }
    if session.reference is not base.weights:
        tensors |= _named("reference/", session.reference)
    return tensors


def path_of(session: Session) -> Path:
    """Return where the session's checkpoint lies."""
    return session.work_dir / _NAME


def _facts(session: Session) -> dict[str, object]:
    meter = session.meter
    return {
        "format": _FORMAT,
        "event": session.event.digest,
        "peer": session.peer_id,
        "commit": session.commit,
        "state": session.base_hash,
        "round": session.round,
        "position": session.position,
        "outstanding": sorted(session.outstanding),
        "meter": {"samples": meter.samples, "steps": meter.steps, "loss": meter.loss_sum, "skipped": meter.skipped},
    }


def restore(session: Session) -> Restored | None:
    """Put the session back to where its checkpoint was saved; None if there is none.

    Raises WorkerError("bad_checkpoint") for a damaged one, or one of another event or identity.
    """
    path = path_of(session)
    if not path.is_file():
        return None
    facts = _read_facts(path)
    if (facts.get("format"), facts.get("event"), facts.get("peer")) != (_FORMAT, session.event.digest, session.peer_id):
        raise WorkerError("bad_checkpoint", f"{path} belongs to another event or identity: use another folder")
    shapes = session.shapes
    needed = {
        **_named("base/", shapes_of_state(shapes, session.event.outer)),
        **_named("local/", shapes),
        **_named("inner/", session.optimiser.shapes()),
    }
    try:
        tensors = read_tensors(path, needed, {**_named("residual/", shapes), **_named("reference/", shapes)})
    except WorkerError as error:
        raise _damaged(path) from error
    base = SharedState.of_tensors(_part("base/", tensors), shapes)
    if base.hash() != facts["state"]:
        raise _damaged(path)
    _take_up(session, base, tensors, facts)
    return Restored(
        commit=session.commit,
        state=session.base_hash,
        round=session.round,
        position=session.position,
        samples=session.meter.samples,
        outstanding=tuple(sorted(session.outstanding)),
    )


def _take_up(session: Session, base: SharedState, tensors: Mapping[str, Tensor], facts: dict[str, Any]) -> None:
    session.base, session.base_hash, session.commit = base, facts["state"], facts["commit"]
    session.reference = _part("reference/", tensors) or base.weights
    session.residual = {name: tensor.to(session.device) for name, tensor in _part("residual/", tensors).items()} or None
    session.set_local(_part("local/", tensors))
    session.optimiser.load(_part("inner/", tensors))
    session.round, session.position = facts["round"], facts["position"]
    session.outstanding = set(facts["outstanding"])
    meter, saved = session.meter, facts["meter"]
    meter.samples, meter.steps = saved["samples"], saved["steps"]
    meter.loss_sum, meter.skipped = saved["loss"], saved["skipped"]


def _read_facts(path: Path) -> dict[str, Any]:
    try:
        facts = decode(bytes.fromhex(read_note(path) or ""), DOCUMENT_LIMITS)
    except (RemoteProtocolError, ValueError, WorkerError) as error:
        raise _damaged(path) from error
    return facts if isinstance(facts, dict) else {}


def _damaged(path: Path) -> WorkerError:
    return WorkerError("bad_checkpoint", f"{path} is damaged: delete it, and with it what was trained and not yet sent")


def _named(prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {prefix + name: value for name, value in values.items()}


def _part(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in sorted(tensors.items()) if name.startswith(prefix)}
