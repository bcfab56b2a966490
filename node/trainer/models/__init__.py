"""The model families that an event can name. A family is built in: an event never brings code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ....protocol.event import AlbertModel, EventManifest, GptModel, HuggingFaceModel
from ..errors import WorkerError, is_out_of_memory
from .base import IGNORED, FeedForward, LanguageModel, Objective

__all__ = ["FAMILIES", "IGNORED", "FeedForward", "LanguageModel", "Objective", "build"]


def _gpt(model: GptModel, block: int) -> LanguageModel:
    from .gpt import Gpt

    return Gpt(model.vocabulary, model.layers, model.width, model.heads, block)


def _albert(model: AlbertModel, block: int) -> LanguageModel:
    from .albert import Albert

    return Albert(model, block)


def _huggingface(model: HuggingFaceModel, block: int) -> LanguageModel:
    from .huggingface import HuggingFace

    return HuggingFace(model)


FAMILIES: dict[str, Callable[[Any, int], LanguageModel]] = {
    "gpt": _gpt,
    "albert": _albert,
    "huggingface": _huggingface,
}


def build(event: EventManifest) -> LanguageModel:
    """Return the event's model on the CPU, its weights not yet set (`initialise`). Raises WorkerError.

    Memory that runs out comes through as torch raises it.
    """
    try:
        return FAMILIES[event.model.family](event.model, event.data.block)
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        raise WorkerError("bad_model", f"this model cannot be built: {str(error).splitlines()[0][:200]}") from error
