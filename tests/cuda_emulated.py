"""The CUDA backend with its kernels compiled for the host: the same sources, the same Python, CPU tensors."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import torch

from collab.kernels.cuda.arguments import KERNELS, Arguments

HERE = Path(__file__).parent
SOURCE = HERE / "kernels" / "cuda_emulated.cpp"
CSRC = HERE.parent / "kernels" / "csrc"


def compiler() -> str | None:
    """A C++ compiler of this machine."""
    return next((found for name in ("g++", "clang++", "c++") if (found := shutil.which(name))), None)


def build(folder: Path) -> Path:
    """The emulation as a shared library, undefined behaviour trapped."""
    command = compiler()
    if command is None:
        raise FileNotFoundError("no C++ compiler")
    library = folder / "cuda_emulated.so"
    strict = ["-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas"]
    checked = ["-ffp-contract=off", "-fsanitize=undefined", "-fsanitize-undefined-trap-on-error"]
    shared = ["-std=c++17", "-O2", "-fPIC", "-shared", f"-I{CSRC}", "-o", str(library), str(SOURCE)]
    subprocess.run([command, *strict, *checked, *shared], check=True, capture_output=True, text=True)
    return library


class EmulatedLauncher:
    """Runs kernels at once. `backwards`: blocks, and lanes in a phase, from the last to the first."""

    device = torch.device("cpu")

    def __init__(self, library: Path, backwards: bool = False) -> None:
        self._library = ctypes.CDLL(str(library))
        self._backwards = backwards

    def __call__(self, kernel: str, blocks: int, arguments: Arguments) -> None:
        expected, _ = KERNELS[kernel]
        assert isinstance(arguments, expected)
        self._library.run_backwards(int(self._backwards))
        self._library[kernel](ctypes.c_uint64(blocks), ctypes.byref(arguments))

    def size_of(self, kernel: str) -> int:
        """Bytes of the kernel's arguments, as the compiler sees them."""
        return int(self._library[f"size_of_{kernel}"]())
