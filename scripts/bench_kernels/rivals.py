"""What the codec is measured against."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import torch
from torch import Tensor

CHUNK = 4096


def torch_pipeline(delta: Tensor, residual: Tensor, k: int, decay: float) -> tuple[Tensor, Tensor, Tensor]:
    """Error feedback, top-k of every chunk, two levels a chunk, as a few lines of torch. Writes the residual in place.

    Positions (int16), codes (uint8, sign and level) and scales (bfloat16) are left unpacked, so it does less than the codec.
    """
    torch.add(delta, residual, alpha=decay, out=residual)
    chunks = residual.view(-1, CHUNK)
    magnitudes, positions = chunks.abs().topk(k, dim=1, sorted=False)
    chosen = chunks.gather(1, positions)
    split = magnitudes.mean(dim=1, keepdim=True)
    upper = magnitudes > split
    count = upper.sum(dim=1, keepdim=True).clamp(1, k - 1)
    high = torch.where(upper, magnitudes, 0).sum(dim=1, keepdim=True) / count
    low = torch.where(upper, 0, magnitudes).sum(dim=1, keepdim=True) / (k - count)
    scales = torch.cat((low, high), dim=1).bfloat16()
    decoded = torch.where(upper, scales[:, 1:].float(), scales[:, :1].float()) * chosen.sign()
    chunks.scatter_add_(1, positions, -decoded)
    return positions.to(torch.int16), (upper.to(torch.uint8) << 1) | (chosen < 0).to(torch.uint8), scales


def floor(delta: Tensor, residual: Tensor, decay: float) -> Tensor:
    """residual ← decay · residual + delta, in one pass over 12 bytes a parameter: what any codec with error feedback must do."""
    return torch.add(delta, residual, alpha=decay, out=residual)


def bound_bits(k: int, value_bits: int) -> float:
    """Least bits a parameter of k uniform positions of every 4096, log2 of their number, and `value_bits` for each."""
    positions = (math.lgamma(CHUNK + 1) - math.lgamma(k + 1) - math.lgamma(CHUNK - k + 1)) / math.log(2)
    return (positions + k * value_bits) / CHUNK


def hivemind_codecs() -> dict[str, Callable[[Tensor], int] | str]:
    """Name → a function that serialises a tensor and returns its bytes, or why there is none."""
    import hivemind.compression as codecs
    from hivemind.proto.runtime_pb2 import CompressionType

    found: dict[str, Callable[[Tensor], int] | str] = {}
    for name in ("FLOAT16", "UNIFORM_8BIT", "BLOCKWISE_8BIT"):
        kind = CompressionType.Value(name)

        def serialise(tensor: Tensor, kind: int = kind) -> int:
            with warnings.catch_warnings(action="ignore"):  # its NumPy view of bytes is not writable
                return len(codecs.serialize_torch_tensor(tensor, kind).buffer)

        try:
            serialise(torch.ones(CHUNK))
        except Exception as error:  # whatever a codec lacks, the others are measured
            found[name] = str(error).splitlines()[0] if str(error) else type(error).__name__
        else:
            found[name] = serialise
    return found
