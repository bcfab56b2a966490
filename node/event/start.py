"""An event's first state, made by its coordinator: from a seed that anyone can repeat, or from a checkpoint."""

from __future__ import annotations

from pathlib import Path

from ...protocol.event import EventDraft, Start
from ...protocol.identity import Identity
from ..errors import UserError


def make_start(draft: EventDraft, out: Path, *, seed: int = 0, checkpoint: Path | None = None) -> Start:
    """Write the first state to `out` as safetensors and return what the manifest says of it. Raises UserError.

    `checkpoint` is a safetensors file, or a directory as `transformers` writes it.
    """
    from ..interchange.read import convert
    from ..trainer.errors import WorkerError
    from ..trainer.start import first_state

    nobody = Identity(bytes(32)).peer_id
    event = draft.manifest(nobody, 0, Start(state=bytes(32)))
    converted = out.with_name("checkpoint.safetensors")
    try:
        if checkpoint is not None:
            convert(event, checkpoint, converted)
        state = first_state(event, seed=None if checkpoint else seed, checkpoint=converted if checkpoint else None)
        state.write(out)
    except WorkerError as error:
        raise UserError(str(error)) from error
    finally:
        converted.unlink(missing_ok=True)
    return Start(state=state.hash(), seed=None if checkpoint else seed)
