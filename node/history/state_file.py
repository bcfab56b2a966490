"""Whether a snapshot's file holds the state that a commit says, found out without torch: its tensors' Merkle root."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError, safe_open

from ...protocol.merkle import state_hash

_Tensor = tuple[str, tuple[int, ...], memoryview]


def holds(path: Path, state: bytes) -> bool:
    """Say whether the file at `path` is a snapshot of the state with this hash. One tensor at a time is in memory."""
    try:
        return state_hash(_tensors(path)) == state
    except SafetensorError:
        return False


def _tensors(path: Path) -> Iterator[_Tensor]:
    with safe_open(path, framework="numpy") as file:
        for name in sorted(file.keys()):
            kind = file.get_slice(name).get_dtype()
            if kind != "F32":
                raise SafetensorError(f"{name!r} is {kind}")
            tensor = file.get_tensor(name)
            yield name, tensor.shape, tensor.reshape(-1).data.cast("B")
