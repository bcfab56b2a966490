"""The codec on a CUDA device: one kernel compresses, one decodes and adds; bit-identical to the reference.

Sources are kernels/csrc/cuda.cu and the headers it includes. `compile` makes a module of them at first use and caches it,
`launch` runs its kernels, `tables` and `arguments` are what both sides agree on, `backend` is the seam, `merge` the
Fisher-weighted merge. Nothing here imports CUDA's bindings until a device is opened.
"""

from __future__ import annotations

import logging
from functools import cache

import torch

from .backend import Cuda

__all__ = ["Cuda", "Unavailable", "load", "open_device"]

_log = logging.getLogger(__name__)


class Unavailable(RuntimeError):
    """Why there is no CUDA backend here, in one line."""


@cache
def load(index: int | None = None) -> Cuda | None:
    """The backend of a CUDA device, the current one by default, or None after one line in the log that says why not."""
    try:
        return open_device(index)
    except Unavailable as reason:
        _log.warning("the codec does not use a GPU: %s", reason)
        return None


def open_device(index: int | None = None) -> Cuda:
    """The backend of a CUDA device, the current one by default. Compiles if need be. Raises `Unavailable`."""
    if not torch.cuda.is_available():
        raise Unavailable("torch finds no CUDA device" if torch.version.cuda else "this build of torch has no CUDA")
    name = "the CUDA device"
    try:
        device = torch.device("cuda", torch.cuda.current_device() if index is None else index)
        name = torch.cuda.get_device_name(device)
        from .compile import compiled
        from .launch import DriverLauncher

        major, minor = torch.cuda.get_device_capability(device)
        return Cuda(DriverLauncher(device, compiled(10 * major + minor)))
    except (ImportError, OSError, RuntimeError) as error:
        first_line = (str(error) or type(error).__name__).splitlines()[0]
        raise Unavailable(f"{name}: {first_line}") from error
