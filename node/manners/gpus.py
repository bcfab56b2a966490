"""Who else computes on the GPU, and how hot it is: from NVML, where the driver and `nvidia-ml-py` are there."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import psutil

_OURS = "collab.node.trainer"


def load_nvml() -> Any | None:
    """Return NVML, started; None where there is none."""
    try:
        nvml = importlib.import_module("pynvml")
        nvml.nvmlInit()
    except Exception:  # a driver that is missing, too old, or being updated: all mean that nothing can be seen
        return None
    return nvml


def _is_trainer(pid: int) -> bool:
    """Say whether a process is another node's worker: it has manners of its own."""
    try:
        return _OURS in psutil.Process(pid).cmdline()
    except psutil.Error:
        return False


class Gpus:
    """Looks at the GPU that our worker computes on, once it has been seen there.

    In a container the driver may name processes by the host's numbers. Then ours is never found, nothing can be told apart, and
    nothing is said.
    """

    def __init__(self, load: Callable[[], Any | None] = load_nvml, is_trainer: Callable[[int], bool] = _is_trainer) -> None:
        self._load = load
        self._is_trainer = is_trainer
        self._nvml: Any = None
        self._loaded = False
        self._handle: Any = None

    def look(self, worker: int | None) -> tuple[int | None, float | None]:
        """Return how many others compute on the worker's GPU, and its temperature in °C; None for what cannot be seen."""
        if not self._loaded:
            self._nvml, self._loaded = self._load(), True
        if self._nvml is None:
            return None, None
        try:
            return self._look(worker)
        except self._nvml.NVMLError:
            return None, None

    def _look(self, worker: int | None) -> tuple[int | None, float | None]:
        if self._handle is None:
            self._handle = self._find(worker)
        if self._handle is None:
            return None, None
        others = [pid for pid in self._processes(self._handle) if pid != worker and not self._is_trainer(pid)]
        degrees = self._nvml.nvmlDeviceGetTemperature(self._handle, self._nvml.NVML_TEMPERATURE_GPU)
        return len(others), float(degrees)

    def _find(self, worker: int | None) -> Any:
        handles = [self._nvml.nvmlDeviceGetHandleByIndex(index) for index in range(self._nvml.nvmlDeviceGetCount())]
        return next((handle for handle in handles if worker in self._processes(handle)), None)

    def _processes(self, handle: Any) -> list[int]:
        return [process.pid for process in self._nvml.nvmlDeviceGetComputeRunningProcesses(handle)]
