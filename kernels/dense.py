"""Dense bodies: every element as a little-endian IEEE half, tensors in order of name. No chunks, no padding."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from .errors import PayloadError
from .layout import Layout, Tensors

FP16_LARGEST = 65504.0


def encode(totals: Tensors, layout: Layout) -> tuple[bytes, dict[str, Tensor]]:
    """Encode finite float32 tensors; what does not fit a half saturates. Returns the body and totals − decoded."""
    parts: list[bytes] = []
    left: dict[str, Tensor] = {}
    for name in layout.names:
        total = totals[name].detach().cpu()
        half = total.clamp(-FP16_LARGEST, FP16_LARGEST).half()
        parts.append(half.contiguous().numpy().astype("<f2", copy=False).tobytes())
        left[name] = total - half.float()
    return b"".join(parts), left


def decode(body: memoryview, layout: Layout) -> dict[str, Tensor]:
    """float32 values, flattened, by name, of a body of the right length. `PayloadError` on NaN and Inf."""
    bits = np.frombuffer(body, dtype="<u2")
    if bool(np.any((bits & 0x7C00) == 0x7C00)):
        raise PayloadError("a dense payload holds NaN or an infinity")
    values = torch.from_numpy(bits.view("<f2").astype(np.float32))
    sizes = [math.prod(shape) for _, shape in layout.tensors]
    return dict(zip(layout.names, torch.split(values, sizes), strict=True))
