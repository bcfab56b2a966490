"""An event's first state, made by its coordinator: from a seed that anyone can repeat, or from a checkpoint."""

from __future__ import annotations

from pathlib import Path

from ..protocol.event import EventDraft, Start
from ..protocol.identity import Identity
from .errors import UserError


def make_start(draft: EventDraft, out: Path, *, seed: int = 0, checkpoint: Path | None = None) -> Start:
    """Write the first state to `out` as safetensors and return what the manifest says of it. Raises UserError."""
    from .trainer.errors import WorkerError
    from .trainer.start import first_state

    nobody = Identity(bytes(32)).peer_id
    event = draft.manifest(nobody, 0, Start(state=bytes(32)))
    try:
        state = first_state(event, seed=None if checkpoint else seed, checkpoint=checkpoint)
        state.write(out)
    except WorkerError as error:
        raise UserError(str(error)) from error
    return Start(state=state.hash(), seed=None if checkpoint else seed)
