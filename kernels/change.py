"""A change of a model that somebody proposes, in the smallest form that keeps to a stated error.

The relative error is ‖delta − decoded‖ / ‖delta‖ over the whole model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from torch import Tensor

from . import lowrank
from .canonical import norm
from .codec import DENSE, Codec
from .entry import compress, decompress
from .errors import PayloadError
from .layout import Buffer, Layout, Tensors
from .sizes import max_payload_bytes

Form = Literal["sparse", "dense", "low-rank"]
"""`sparse` and `dense` are patches of docs/WIRE_FORMAT.md, `low-rank` is that of `lowrank`."""

_KEPT = (16, 32, 64, 128, 256, 512)
_BITS = (1, 2, 3, 4, 6, 8)
_EVERY_VALUE = Codec("sparse", tensors=(("*", DENSE),))
_ROUNDING = 0.98
"""What of the error is left for cutting ranks; the rest is for rounding to halves."""


@dataclass(frozen=True)
class Encoded:
    """A payload and its relative error."""

    form: Form
    payload: bytes
    error: float


def smallest(delta: Tensors, error: float) -> Encoded:
    """The shortest payload whose relative error is at most `error`, of those tried.

    Raises `ValueError` if none keeps to it or there is no change, `NonFiniteError` on NaN and infinities.
    """
    whole = norm(delta)
    if whole == 0:
        raise ValueError("nothing changed")
    found = [encoded for encoded in _encodings(delta, whole, error) if encoded.error <= error]
    if not found:
        raise ValueError(f"no form keeps to a relative error of {error:g}")
    return min(found, key=lambda encoded: len(encoded.payload))


def decode(form: str, payload: Buffer, layout: Layout) -> dict[str, Tensor]:
    """The change, float32. Raises `PayloadError`, also on a form that there is not."""
    if form not in get_args(Form):
        raise PayloadError(f"no form {form!r}")
    return lowrank.decode(payload, layout) if form == "low-rank" else decompress(payload, layout)


def support_of(form: str, payload: Buffer, layout: Layout) -> Buffer:
    """A patch that has the coordinates of a change, for values on them: itself, or all coordinates of a low-rank one.

    The same bytes on every machine. Raises `PayloadError`.
    """
    if form != "low-rank":
        return payload
    return compress(decode(form, payload, layout), None, _EVERY_VALUE)[0]


def _encodings(delta: Tensors, whole: float, error: float) -> Iterator[Encoded]:
    """The first codec, by length, that keeps to the error, and the low-rank form."""
    layout = Layout.of(delta)
    for form, codec in sorted(_codecs(), key=lambda each: max_payload_bytes(layout, each[1])):
        payload, left = compress(delta, None, codec)
        encoded = Encoded(form, payload, norm(left) / whole)
        if encoded.error <= error:
            yield encoded
            break
    payload = lowrank.encode(delta, _ROUNDING * error)
    decoded = lowrank.decode(payload, layout)
    yield Encoded("low-rank", payload, norm({name: delta[name] - decoded[name] for name in delta}) / whole)


def _codecs() -> Iterator[tuple[Form, Codec]]:
    for bits in _BITS:
        for kept in _KEPT:
            yield "sparse", Codec("sparse", kept, bits)
    yield "dense", _EVERY_VALUE
    yield "dense", Codec("fp16")
