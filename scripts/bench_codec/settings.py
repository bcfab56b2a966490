"""What is compared: events, and for each a list of named settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from collab.kernels import Codec
from collab.node.event_file import embedded_event
from collab.protocol.event import AlbertModel, EventDraft

from .compressors import Compressor, Patch, RawIndices, Sign
from .simulation import Outer

ROUNDS = 20
QUICK_ROUNDS = 2
QUICK_STEPS = 8


@dataclass(frozen=True)
class Setting:
    """`k`, `value_bits` and `schedule` are what the rows say."""

    name: str
    compressor: Compressor
    outer: Outer
    k: int | None = None
    value_bits: int | None = None
    schedule: str = "constant"


def gpt(quick: bool) -> EventDraft:
    """The demo's event."""
    return _sized(embedded_event(), quick)


def albert(quick: bool) -> EventDraft:
    """A small ALBERT on the demo's text: masked bytes, layers that share their weights."""
    model = AlbertModel(
        family="albert", layers=4, width=192, heads=4, feed_forward=768, embedding=64, vocabulary=257, mask_share=0.15
    )
    return _sized(embedded_event().model_copy(update={"name": "albert", "model": model}), quick)


EVENTS: dict[str, Callable[[bool], EventDraft]] = {"gpt": gpt, "albert": albert}


def _sized(event: EventDraft, quick: bool) -> EventDraft:
    if not quick:
        return event
    inner = event.inner.model_copy(update={"steps": QUICK_STEPS, "warmup_samples": 0})
    return event.model_copy(update={"inner": inner, "data": event.data.model_copy(update={"held_out_samples": 64})})


def sparse(k: int, value_bits: int, rate: float = 2.0) -> Setting:
    """This codec at one density."""
    return Setting(f"sparse {k}, {value_bits} bits", Patch(Codec("sparse", k, value_bits)), Outer(rate), k, value_bits)


def all_settings() -> list[Setting]:
    """Everything that the picture shows; the outer rates are the best found for each kind (docs/RECIPES.md)."""
    return [
        Setting("dense fp16", Patch(Codec("fp16")), Outer(1.0), None, 16),
        Setting("dense int8", Patch(Codec("sparse", tensors=(("*", 0),))), Outer(1.0), 4096, 8),
        Setting("sign", Sign(), Outer(1.0), 4096, 1),
        Setting("raw 12-bit indices, 64", RawIndices(Codec("sparse", 64, 2)), Outer(2.0), 64, 2),
        *(sparse(k, 2) for k in (16, 32, 64, 128, 256, 512)),
        *(sparse(128, bits) for bits in (1, 3, 4)),
    ]
