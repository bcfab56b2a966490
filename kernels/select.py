"""The largest magnitudes of every row, exactly.

`torch.topk` decides which *values* are the largest, which is unambiguous, but among equal values it may return any
positions. So only the threshold comes from it; of the values equal to the threshold the first ones are taken.
"""

from __future__ import annotations

from torch import Tensor

from .floats import magnitude_keys


def largest(values: Tensor, kept: int) -> Tensor:
    """Positions (rows, kept) int64, ascending, of the `kept` largest magnitudes of float32 (rows, n), 1 ≤ kept ≤ n.

    Ties go to the lower position. Compared as integers, so denormals count and a zero ranks below everything.
    """
    keys = magnitude_keys(values)
    threshold = keys.topk(kept, dim=1, sorted=False).values.amin(dim=1, keepdim=True)
    chosen = keys >= threshold
    if int(chosen.sum()) > kept * len(values):
        chosen = _first_ties(keys, threshold, kept)
    return chosen.nonzero()[:, 1].view(-1, kept)


def _first_ties(keys: Tensor, threshold: Tensor, kept: int) -> Tensor:
    above, equal = keys > threshold, keys == threshold
    missing = kept - above.sum(dim=1, keepdim=True)
    return above | (equal & (equal.cumsum(dim=1) <= missing))
