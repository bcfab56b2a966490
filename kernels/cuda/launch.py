"""Kernels of a compiled module, launched through the driver on the stream that torch works on."""

from __future__ import annotations

import ctypes
import importlib
from typing import Any, Protocol

import torch

from .arguments import KERNELS, Arguments


class Launcher(Protocol):
    """Runs kernels. `device` is where their tensors are."""

    @property
    def device(self) -> torch.device: ...

    def __call__(self, kernel: str, blocks: int, arguments: Arguments) -> None:
        """Enqueue a kernel of `KERNELS` on so many blocks; returns at once."""
        ...


class DriverLauncher:
    """`image`: a cubin or PTX for this CUDA device. Raises `RuntimeError` if the driver does not take it."""

    def __init__(self, device: torch.device, image: bytes) -> None:
        self.device = device
        self._driver = importlib.import_module("cuda.bindings.driver")
        with torch.cuda.device(device):
            torch.zeros(1, device=device)  # torch makes the context in which the module lives, and this thread's
            self._context = self._call("cuCtxGetCurrent")
            self._module = self._call("cuModuleLoadData", image)
            self._functions = {name: self._call("cuModuleGetFunction", self._module, name.encode()) for name in KERNELS}

    def __call__(self, kernel: str, blocks: int, arguments: Arguments) -> None:
        if blocks == 0:
            return
        _, threads = KERNELS[kernel]
        only = ctypes.c_void_p(ctypes.addressof(arguments))  # a kernel has one parameter, which the driver copies now
        with torch.cuda.device(self.device):
            stream = self._driver.CUstream(torch.cuda.current_stream(self.device).cuda_stream)
            place = (blocks, 1, 1, threads, 1, 1, 0, stream)
            self._call("cuCtxSetCurrent", self._context)  # a thread in which torch has only taken memory it had has none yet
            self._call("cuLaunchKernel", self._functions[kernel], *place, ctypes.addressof(only), 0)

    def _call(self, function: str, *arguments: Any) -> Any:
        status, *results = getattr(self._driver, function)(*arguments)
        if int(status) != 0:
            raise RuntimeError(f"{function}: {status.name}")
        return results[0] if results else None
