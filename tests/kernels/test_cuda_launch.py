"""Launches through the driver: a fake one, which hands what a driver is given to the emulated kernels."""

from __future__ import annotations

import contextlib
import ctypes
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from enum import IntEnum
from pathlib import Path
from types import SimpleNamespace

import cuda_cases
import pytest
import torch
from cuda_emulated import build, compiler

from collab.kernels import Codec
from collab.kernels.cuda import Cuda
from collab.kernels.cuda.arguments import KERNELS
from collab.kernels.cuda.launch import DriverLauncher

Make = Callable[..., dict[str, torch.Tensor]]

STREAM = 77


class Result(IntEnum):
    CUDA_SUCCESS = 0
    CUDA_ERROR_INVALID_CONTEXT = 201
    CUDA_ERROR_INVALID_IMAGE = 200


class FakeDriver:
    """Modules are images, functions are names; a kernel reads its struct from where the parameters point.

    The thread that made it has a context, as one that torch has worked in; others have none.
    """

    CUstream = int

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        self.launched: list[str] = []
        self._of_thread = threading.local()
        self._of_thread.context = "context"

    def cuCtxGetCurrent(self) -> tuple[Result, str | None]:
        return Result.CUDA_SUCCESS, getattr(self._of_thread, "context", None)

    def cuCtxSetCurrent(self, context: str) -> tuple[Result]:
        self._of_thread.context = context
        return (Result.CUDA_SUCCESS,)

    def cuModuleLoadData(self, image: bytes) -> tuple[Result, bytes | None]:
        return (Result.CUDA_SUCCESS, image) if image == b"image" else (Result.CUDA_ERROR_INVALID_IMAGE, None)

    def cuModuleGetFunction(self, module: bytes, name: bytes) -> tuple[Result, str]:
        return Result.CUDA_SUCCESS, name.decode()

    def cuLaunchKernel(self, function: str, *rest: int) -> tuple[Result]:
        blocks, y, z, threads, thread_y, thread_z, shared, stream, parameters, extra = rest
        assert (y, z, thread_y, thread_z, shared, extra) == (1, 1, 1, 1, 0, 0)
        assert threads == KERNELS[function][1]
        assert stream == STREAM
        assert blocks > 0
        if self.cuCtxGetCurrent()[1] != "context":
            return (Result.CUDA_ERROR_INVALID_CONTEXT,)
        struct = ctypes.cast(parameters, ctypes.POINTER(ctypes.c_void_p))[0]
        self._library[f"launch_{function}"](ctypes.c_uint64(blocks), ctypes.c_uint32(threads), ctypes.c_void_p(struct))
        self.launched.append(function)
        return (Result.CUDA_SUCCESS,)


@pytest.mark.skipif(compiler() is None, reason="no C++ compiler")
def test_kernels_get_their_arguments_on_torch_s_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Make) -> None:
    driver = FakeDriver(ctypes.CDLL(str(build(tmp_path))))
    monkeypatch.setitem(sys.modules, "cuda.bindings.driver", driver)
    monkeypatch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: SimpleNamespace(cuda_stream=STREAM))
    launch = DriverLauncher(torch.device("cpu"), b"image")
    cuda_cases.compare(Cuda(launch), cuda_cases.Case("heavy", Codec()), make)
    assert set(driver.launched) == KERNELS.keys() - {"square_chunks", "merge_chunks"}
    with ThreadPoolExecutor(1) as other:
        other.submit(cuda_cases.compare_squares, Cuda(launch), make).result()
    assert driver.launched[-1] == "square_chunks"
    with pytest.raises(RuntimeError, match="cuModuleLoadData: CUDA_ERROR_INVALID_IMAGE"):
        DriverLauncher(torch.device("cpu"), b"nonsense")
