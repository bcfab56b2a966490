"""The tensors of a package whose header was checked."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from ...errors import UserError


def load_tensors(path: Path, device: torch.device) -> dict[str, Tensor]:
    """Return the tensors by name on `device`, what is floating-point as finite float32. Raises UserError."""
    tensors = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in load_file(path).items()}
    odd = next((name for name, tensor in sorted(tensors.items()) if not bool(torch.isfinite(tensor).all())), None)
    if odd is not None:
        raise UserError(f"{path}: {odd} has NaN or infinite values")
    return {name: tensor.to(device) for name, tensor in tensors.items()}


def require_width(what: str, found: int, wanted: int) -> None:
    """Raise UserError unless a module was made for hidden states as wide as the base's."""
    if found != wanted:
        raise UserError(f"{what} is for a width of {found}, the base's is {wanted}")
