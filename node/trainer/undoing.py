"""Reverts: what contributions did to the base is taken back, and who else moved the same coordinates is counted."""

from __future__ import annotations

import torch
from torch import Tensor

from ...kernels import PayloadError
from ...kernels.removal import added_by, step_back, touched
from .errors import WorkerError
from .messages import Overlap, Overlaps, Undo, Unmerge
from .parts import contribution_of
from .session import Session
from .state import SharedState


def undone(session: Session, base: SharedState, request: Undo) -> SharedState:
    """Return the base without what the request takes out. Raises WorkerError."""
    weights, momentum = base.weights, base.momentum
    for merged in request.undone:
        added = _added(session, merged)
        weights = step_back(weights, added, merged.weight)
        if momentum is not None:
            momentum = step_back(momentum, added, -merged.momentum)
    return SharedState(weights, momentum)


def _added(session: Session, merged: Unmerge) -> dict[str, Tensor]:
    contributions = [contribution_of(session, part) for part in merged.parts]
    try:
        return added_by(
            merged.method, session.layout, contributions, merged.kept, cap=merged.cap, damping=merged.damping
        )
    except PayloadError as error:
        raise WorkerError("bad_payload", str(error)) from error
    except ValueError as error:
        raise WorkerError("bad_merge", str(error)) from error


def overlap(session: Session, request: Overlap) -> Overlaps:
    """See messages.Overlap."""
    layout = session.layout
    nothing = {name: torch.zeros(shape, dtype=torch.bool) for name, shape in layout.tensors}
    taken, moved, later = dict(nothing), dict(nothing), dict(nothing)
    for merged in request.rounds:
        parts = list(zip([contribution_of(session, part) for part in merged.parts], merged.kept, strict=True))
        leaving = touched(layout, [each for each, stays in parts if not stays])
        staying = touched(layout, [each for each, stays in parts if stays])
        for name in layout.names:
            taken[name] = taken[name] | leaving[name]
            moved[name] = moved[name] | (leaving[name] & later[name])
            later[name] = later[name] | staying[name]
    return Overlaps(tensors=tuple((name, int(taken[name].sum()), int(moved[name].sum())) for name in layout.names))
