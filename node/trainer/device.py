"""Which device trains."""

from __future__ import annotations

from typing import Literal

import torch

from .errors import WorkerError


def choose_device(wanted: Literal["auto", "cpu", "cuda"]) -> torch.device:
    """Return the device; `auto` takes a GPU where torch sees one. Raises WorkerError("bad_device")."""
    if wanted == "cpu" or (wanted == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise WorkerError("bad_device", "torch sees no CUDA GPU here: install torch with CUDA, or train on the cpu")
    return torch.device("cuda", torch.cuda.current_device())


def use_bf16(device: torch.device, wanted: bool) -> bool:
    """Say whether matrix products run in bf16: where the recipe allows it and the GPU has it."""
    return wanted and device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def limit_memory(device: torch.device, mebibytes: int) -> None:
    """Let torch take so much of a GPU's memory and no more (0: all); what does not fit ends as any lack of memory does."""
    if device.type == "cuda" and mebibytes:
        total = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, (mebibytes << 20) / total), device)
