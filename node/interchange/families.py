"""Which counterpart in `transformers` an event's model has."""

from __future__ import annotations

from ...protocol.event import AlbertModel, EventManifest, GptModel
from .albert import albert
from .counterpart import Counterpart
from .gpt import gpt


def counterpart_of(event: EventManifest) -> Counterpart | None:
    """Return the counterpart of an event's built-in family; None for the family that is `transformers`' own."""
    model = event.model
    if isinstance(model, AlbertModel):
        return albert(model, event.data.block)
    return gpt(model, event.data.block) if isinstance(model, GptModel) else None
