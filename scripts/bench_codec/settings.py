"""What is compared: events, and for each a list of named settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from collab.kernels import Codec
from collab.node.event.file import embedded_event
from collab.node.recipe import codec_of
from collab.protocol.event import AlbertModel, EventDraft

from .compressors import Compressor, Patch, RawIndices, Sign
from .simulation import Outer

QUICK_ROUNDS = 2
QUICK_STEPS = 8

FULL_BITS = 16
"""A parameter, in fp16: what everything is compared with."""

RECIPE = embedded_event()
DENSE_NAME = "dense fp16"
MUON = ", Muon"
RECIPE_NAME = f"sparse 144, 1 bit{MUON}"
ROUNDS = 20
"""Of every event here, whatever the demo's are: rows of many days are compared."""


@dataclass(frozen=True)
class Setting:
    """`k`, `value_bits` and `schedule` are what the rows say."""

    name: str
    compressor: Compressor
    outer: Outer
    merge: str = "average"
    k: int | None = None
    value_bits: int | None = None
    schedule: str = "constant"
    inner: Literal["adamw", "muon"] = "adamw"


def gpt(quick: bool) -> EventDraft:
    """The demo's event, but for the number of rounds."""
    inner = RECIPE.inner.model_copy(update={"total_samples": 12800})
    return _sized(RECIPE.model_copy(update={"inner": inner}), quick)


def albert(quick: bool) -> EventDraft:
    """A small ALBERT on the demo's text: masked bytes, layers that share their weights.

    At a higher rate it stays at the frequencies of bytes: post-norm attention has to find its neighbours first.
    """
    model = AlbertModel(
        family="albert", layers=2, width=128, heads=4, feed_forward=512, embedding=64, vocabulary=257, mask_share=0.15
    )
    inner = RECIPE.inner.model_copy(update={"batch": 16, "rate": 1e-3, "warmup_samples": 2560, "total_samples": 38400})
    data = RECIPE.data.model_copy(update={"block": 32, "held_out_samples": 1024})
    return _sized(RECIPE.model_copy(update={"name": "albert", "model": model, "inner": inner, "data": data}), quick)


EVENTS: dict[str, Callable[[bool], EventDraft]] = {"gpt": gpt, "albert": albert}
TITLES = {"gpt": "GPT, the next byte", "albert": "ALBERT, masked bytes"}


def _sized(event: EventDraft, quick: bool) -> EventDraft:
    event = event.model_copy(update={"rounds": event.rounds.model_copy(update={"last_round": ROUNDS})})
    if not quick:
        return event
    inner = event.inner.model_copy(update={"steps": QUICK_STEPS, "warmup_samples": 0})
    data = event.data.model_copy(update={"held_out_samples": 64})
    rounds = event.rounds.model_copy(update={"last_round": QUICK_ROUNDS})
    return event.model_copy(update={"inner": inner, "data": data, "rounds": rounds})


def codec(**changed: Any) -> Codec:
    """The demo's, but for what is given."""
    return replace(codec_of(RECIPE.compression), **changed)


def ours(
    name: str, codec: Codec, last_codec: Codec | None = None, *, momentum: float = 0.0, rate: float = RECIPE.outer.rate
) -> Setting:
    """The demo's merge and outer rate, with another codec or outer optimiser."""
    schedule = "constant" if last_codec is None else f"{codec.k} to {last_codec.k}"
    return Setting(
        name, Patch(codec, last_codec), Outer(rate, momentum), RECIPE.merge.method, codec.k, codec.value_bits, schedule
    )


def sparse(k: int, value_bits: int) -> Setting:
    """The recipe of docs/RECIPES.md at another density or another number of bits."""
    return ours(f"sparse {k}, {_bits(value_bits)}", codec(k=k, value_bits=value_bits))


def plain(k: int, value_bits: int) -> Setting:
    """The published sparse recipe: long memory, the plain mean, and an outer rate of 2, which it needs."""
    changed = codec(k=k, value_bits=value_bits, decay=0.95)
    return Setting(f"plain {k}, {_bits(value_bits)}", Patch(changed), Outer(2.0), "average", k, value_bits)


def raw(k: int, value_bits: int) -> Setting:
    """The recipe with 12 bits a position."""
    sent = RawIndices(codec(k=k, value_bits=value_bits))
    return replace(sparse(k, value_bits), name=f"raw 12-bit positions, {k}, {_bits(value_bits)}", compressor=sent)


def muon(setting: Setting) -> Setting:
    """The same with Muon as the inner optimiser, at the rate of AdamW."""
    return replace(setting, name=setting.name + MUON, inner="muon")


def all_settings() -> list[Setting]:
    """Everything that is compared. The recipe comes first after what it is measured against."""
    dense = Setting(DENSE_NAME, Patch(Codec("fp16")), Outer(1.0), "average", None, 16)
    return [
        dense,
        sparse(144, 1),
        *(plain(k, bits) for k, bits in ((144, 1), (112, 2))),
        *(sparse(k, 1) for k in (16, 32, 64, 128, 256, 512)),
        *(sparse(k, 2) for k in (16, 32, 64, 112, 256, 512)),
        *(sparse(k, bits) for bits in (3, 4) for k in (64, 112, 256)),
        raw(64, 2),
        raw(112, 2),
        Setting("dense int8", Patch(codec(tensors=(("*", 0),))), Outer(1.0), "average", 4096, 8),
        Setting("sign", Sign(), Outer(1.0), "average", 4096, 1),
        *(muon(setting) for setting in (dense, *(sparse(k, 1) for k in (64, 128, 144, 256)))),
        *_ideas(),
    ]


def _ideas() -> list[Setting]:
    """What might have improved the recipe at about the same bytes."""
    return [
        ours("falling 208 to 80", codec(k=208), codec(k=80)),
        ours("rising 80 to 208", codec(k=80), codec(k=208)),
        ours("small tensors dense", codec(k=128, dense_below=4096)),
        ours("embeddings 288", codec(k=128, tensors=(("embedding.weight", 288), ("tokens.weight", 288)))),
        ours("outer momentum 0.3", codec(), momentum=0.3, rate=1.4),
        ours("outer rate 1.5", codec(), rate=1.5),
        ours("outer rate 2.5", codec(), rate=2.5),
        ours("decay 0.8", codec(decay=0.8)),
        ours("decay 0.4", codec(decay=0.4)),
        muon(ours("decay 0.8", codec(decay=0.8))),
        *(muon(ours(f"outer rate {rate}", codec(), rate=rate)) for rate in (1.5, 2.5)),
    ]


def _bits(count: int) -> str:
    return f"{count} bit" if count == 1 else f"{count} bits"
