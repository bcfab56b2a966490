"""Initial weights that are the same bits everywhere.

torch's own normal generator uses vector instructions where it finds them, and so differs in the last bits between machines.
Here a value is the sum of four 16-bit words of SHAKE-128 (within 3.5 standard deviations, and near a normal distribution),
shifted and scaled by one IEEE multiplication. Every tensor has a stream of its own, named by seed and tensor.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np
import torch
from torch import Tensor

from ....protocol.canonical import encode

_WORDS = 4
_MEAN = _WORDS * (2**16 - 1) / 2
_DEVIATION = math.sqrt(_WORDS * (2**32 - 1) / 12)


@torch.no_grad()
def fill_normal(tensor: Tensor, seed: int, name: str, deviation: float) -> None:
    """Fill the float32 CPU `tensor` with about normal values of mean 0 and standard `deviation`."""
    stream = hashlib.shake_128(b"collab-node/weights/1" + encode([seed, name])).digest(2 * _WORDS * tensor.numel())
    sums = np.frombuffer(stream, dtype="<u2").reshape(-1, _WORDS).sum(axis=1, dtype=np.int32)
    values = ((sums - _MEAN) * (deviation / _DEVIATION)).astype(np.float32)
    tensor.copy_(torch.from_numpy(values).view(tensor.shape))
