"""What is compared: events, and for each a list of named settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from collab.kernels import Codec
from collab.node.event.file import embedded_event
from collab.protocol.event import AlbertModel, EventDraft

from .compressors import Compressor, Patch, RawIndices, Sign
from .simulation import Merge, Outer, average, sparse_average

ROUNDS = 20
QUICK_ROUNDS = 2
QUICK_STEPS = 8

DECAY = 0.6
RATE = 2.0


@dataclass(frozen=True)
class Setting:
    """`k`, `value_bits` and `schedule` are what the rows say."""

    name: str
    compressor: Compressor
    outer: Outer
    merge: Merge = average
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


def sparse(k: int, value_bits: int) -> Setting:
    """The recipe of docs/RECIPES.md at another density or another number of bits."""
    codec = Codec("sparse", k, value_bits, decay=DECAY)
    return Setting(f"sparse {k}, {_bits(value_bits)}", Patch(codec), Outer(RATE), sparse_average, k, value_bits)


def plain(k: int, value_bits: int) -> Setting:
    """The published sparse recipe: long memory, plain mean, the shared weights moved by the mean itself or by twice of it."""
    codec = Codec("sparse", k, value_bits, decay=0.95)
    return Setting(f"plain {k}, {_bits(value_bits)}", Patch(codec), Outer(2.0), average, k, value_bits)


def all_settings() -> list[Setting]:
    """Everything that is compared. The recipe comes first after what it is measured against."""
    return [
        Setting("dense fp16", Patch(Codec("fp16")), Outer(1.0), average, None, 16),
        sparse(144, 1),
        plain(144, 1),
        plain(112, 2),
        *(sparse(k, 1) for k in (16, 32, 64, 256, 512)),
        *(sparse(112, bits) for bits in (2, 3, 4)),
        Setting("raw 12-bit indices, 112", RawIndices(Codec("sparse", 112, 2, decay=DECAY)), Outer(RATE), sparse_average, 112, 2),
        Setting("dense int8", Patch(Codec("sparse", tensors=(("*", 0),))), Outer(1.0), average, 4096, 8),
        Setting("sign", Sign(), Outer(1.0), average, 4096, 1),
    ]


def _bits(count: int) -> str:
    return f"{count} bit" if count == 1 else f"{count} bits"
