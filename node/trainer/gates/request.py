"""The daemon's request to run a gate, from the versions it names to the measurement that it gets."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from ....protocol.errors import RemoteProtocolError
from ....protocol.gates import decode_gate
from ..errors import WorkerError, translated
from ..merging import Candidates
from ..messages import GateRun, RunGate, VersionRef
from ..modules import applied
from ..session import Session
from ..state import SharedState
from .version import Version


def run_gate(session: Session, candidates: Candidates, request: RunGate) -> GateRun:
    """See messages.RunGate."""
    try:
        gate = decode_gate(request.gate)
    except RemoteProtocolError as error:
        raise WorkerError("bad_request", f"gate: {error}") from error
    gates = session.require_gates()
    with translated(f"running gate {gate.name}"):
        base, candidate = (version_of(session, candidates, wanted) for wanted in (request.base, request.candidate))
        measured, data = gates.run(gate, base, candidate, request.seed, whole=request.whole)
    return GateRun(measurement=measured.encode(), data=data, hardware=gates.hardware())


def version_of(session: Session, candidates: Candidates, wanted: VersionRef) -> Version:
    """Return what a reference stands for. Raises WorkerError: no_base, bad_tensors, unknown_candidate, unfit."""
    weights, state = _weights(session, candidates, wanted)
    if wanted.module is not None:
        return applied(session.model, weights, state, wanted.module)
    return Version(session.model, weights, state)


def _weights(session: Session, candidates: Candidates, wanted: VersionRef) -> tuple[dict[str, Tensor], bytes]:
    if wanted.of == "base":
        return session.require_base().weights, session.base_hash
    if wanted.of == "candidate":
        candidate = candidates.get(wanted.key)
        return candidate.state.weights, candidate.answer.state
    state = SharedState.read(Path(wanted.path), session.shapes, session.event.outer, weights_only=True)
    return state.weights, state.hash()
