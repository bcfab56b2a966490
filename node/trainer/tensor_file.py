"""Named float32 tensors in safetensors files, which hold no code. Reading checks everything before it takes memory."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..files import replacing
from .errors import WorkerError

Shapes = Mapping[str, tuple[int, ...]]

_HEADER_BYTES_PER_TENSOR = 1024


def write_tensors(path: Path, tensors: Mapping[str, Tensor], note: str | None = None) -> None:
    """Write `tensors` (float32, on the CPU) atomically. The same tensors and note give the same bytes."""
    # One note only: safetensors keeps metadata in a hash table, so several would come out in any order.
    with replacing(path) as temporary:
        try:
            save_file({name: tensor.detach() for name, tensor in tensors.items()}, temporary, _metadata(note))
        except SafetensorError as error:
            for number in (errno.ENOSPC, errno.EDQUOT):  # known by Rust's words for it alone
                if f"(os error {number})" in str(error):
                    raise OSError(number, os.strerror(number), str(path)) from error
            raise


def _metadata(note: str | None) -> dict[str, str] | None:
    return None if note is None else {"collab": note}


def read_note(path: Path) -> str | None:
    """Return the note of a file that `write_tensors` wrote, None if it has none. Raises WorkerError("bad_tensors")."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
            return metadata.get("collab")
    except SafetensorError as error:
        raise WorkerError("bad_tensors", f"{path.name} is not a safetensors file: {error}") from error


def read_tensors(path: Path, shapes: Shapes, optional: Shapes | None = None) -> dict[str, Tensor]:
    """Return exactly the tensors that `shapes` names (and those of `optional` that are there), by name.

    Raises WorkerError("bad_tensors") for another name, shape or type, for NaN and infinities, and for bytes that are no
    safetensors file; OSError if it cannot be read.
    """
    known = {**shapes, **(optional or {})}
    _check_size(path, known)
    try:
        with safe_open(path, framework="pt") as file:
            names = set(file.keys())
            _check_names(path, names, set(shapes), set(known))
            return {name: _read(file, path, name, known[name]) for name in sorted(names)}
    except SafetensorError as error:
        raise WorkerError("bad_tensors", f"{path.name} is not a safetensors file: {error}") from error


def _check_size(path: Path, shapes: Shapes) -> None:
    values = sum(torch.Size(shape).numel() for shape in shapes.values())
    limit = 4 * values + _HEADER_BYTES_PER_TENSOR * (len(shapes) + 64)
    if (size := path.stat().st_size) > limit:
        raise WorkerError("bad_tensors", f"{path.name} has {size} bytes, this model has {4 * values}")


def _check_names(path: Path, names: set[str], needed: set[str], known: set[str]) -> None:
    if missing := needed - names:
        raise WorkerError("bad_tensors", f"{path.name} lacks {min(missing)!r} and {len(missing) - 1} more of the model")
    if unknown := names - known:
        raise WorkerError("bad_tensors", f"{path.name} has {min(unknown)[:80]!r}, which is no part of the model")


def _read(file: Any, path: Path, name: str, shape: tuple[int, ...]) -> Tensor:
    view = file.get_slice(name)
    if view.get_dtype() != "F32" or tuple(view.get_shape()) != shape:
        found = f"{view.get_dtype()} {tuple(view.get_shape())}"
        raise WorkerError("bad_tensors", f"{name!r} in {path.name} is {found}, the model's is F32 {shape}")
    # A copy, because what safetensors hands out may be a map of the file.
    tensor: Tensor = file.get_tensor(name).clone()
    if not bool(torch.isfinite(tensor).all()):
        raise WorkerError("bad_tensors", f"{name!r} in {path.name} has NaN or infinite values")
    return tensor
