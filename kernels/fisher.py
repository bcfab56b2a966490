"""The diagonal of the Fisher information, estimated by squared gradients (Matena & Raffel 2021, section 3).

The trainer calls `accumulate` with the gradient of the log-likelihood of a few samples, one sample (or one small
batch) a call; the mean over calls is the diagonal. Merging in rounds normalises it, so the sum serves as well there.

`encode` and `decode` carry a proposal's diagonal beside its change: on the coordinates that the change moves, and zero elsewhere.
"""

from __future__ import annotations

from torch import Tensor

from .change import support_of
from .entry import compress_on_support, decompress_on_support
from .layout import Buffer, Layout, Tensors


def accumulate(diagonal: dict[str, Tensor], gradients: Tensors) -> None:
    """diagonal += gradient², in place: a product, then a sum. Both float32 and of one layout, else `ValueError`."""
    Layout.of(diagonal).require(gradients, "the gradient")
    for name, gradient in gradients.items():
        square = gradient.detach() * gradient.detach()
        diagonal[name] += square


def encode(diagonal: Tensors, form: str, payload: Buffer) -> bytes:
    """8 bits for each coordinate of the change that `payload` is in this `form`.

    Raises `PayloadError` if the change does not decode or a value is negative, `NonFiniteError` on NaN and infinities.
    """
    return compress_on_support(diagonal, support_of(form, payload, Layout.of(diagonal)), bits=8)


def decode(fisher: Buffer, form: str, payload: Buffer, layout: Layout) -> dict[str, Tensor]:
    """New float32 tensors. Raises `PayloadError`, also if `fisher` was made for another change."""
    return decompress_on_support(fisher, support_of(form, payload, layout), layout)
