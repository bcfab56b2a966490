"""The diagonal of the Fisher information, estimated by squared gradients (Matena & Raffel 2021, section 3).

The trainer calls `accumulate` with the gradient of the log-likelihood of a few samples, one sample (or one small
batch) a call; the mean over calls is the diagonal. Merging normalises it, so the sum serves as well.
"""

from __future__ import annotations

from torch import Tensor

from .layout import Layout, Tensors


def accumulate(diagonal: dict[str, Tensor], gradients: Tensors) -> None:
    """diagonal += gradient², in place: a product, then a sum. Both float32 and of one layout, else `ValueError`."""
    Layout.of(diagonal).require(gradients, "the gradient")
    for name, gradient in gradients.items():
        square = gradient.detach() * gradient.detach()
        diagonal[name] += square
