"""An event's first state, for whoever writes the event: its hash stands in the manifest."""

from __future__ import annotations

from pathlib import Path

from ...protocol.event import EventManifest
from .errors import translated
from .models import build
from .state import SharedState


def first_state(event: EventManifest, *, seed: int | None = None, checkpoint: Path | None = None) -> SharedState:
    """Return the state made from `seed`, or from a safetensors `checkpoint` of the model's weights.

    `event.start` is not looked at. Raises WorkerError; ValueError unless one of the two is given.
    """
    if (seed is None) == (checkpoint is None):
        raise ValueError("a first state comes from a seed or from a checkpoint")
    with translated("making the first state"):
        model = build(event)
        if seed is not None:
            model.initialise(seed)
            return SharedState.start(model.weights(), event.outer)
        assert checkpoint is not None
        shapes = {name: tuple(weight.shape) for name, weight in model.weights().items()}
        return SharedState.read(checkpoint, shapes, event.outer, weights_only=True)
