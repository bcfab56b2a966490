"""The CUDA backend with its kernels compiled for the host (kernels/cuda_emulated.cpp): the same Python, CPU tensors."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import torch

from collab.kernels.cuda.arguments import KERNELS, Arguments

HERE = Path(__file__).parent
CSRC = HERE.parent / "kernels" / "csrc"


def compiler() -> str | None:
    """A C++ compiler of this machine."""
    return next((found for name in ("g++", "clang++", "c++") if (found := shutil.which(name))), None)


def build(folder: Path) -> Path:
    """The emulation as a shared library, undefined behaviour trapped."""
    trap = ["-fsanitize=undefined", "-fsanitize-undefined-trap-on-error"]
    return _compile(folder / "cuda_emulated.so", "cuda_emulated.cpp", ["-fPIC", "-shared", *trap])


def build_races(folder: Path) -> Path:
    """The program that runs kernels under the thread sanitizer. `CalledProcessError` where there is none."""
    return _compile(folder / "cuda_races", "cuda_races.cpp", ["-g", "-fsanitize=thread"])


def _compile(target: Path, source: str, options: list[str]) -> Path:
    command = compiler()
    if command is None:
        raise FileNotFoundError("no C++ compiler")
    floats = ["-std=c++17", "-O2", "-ffp-contract=off", "-fno-strict-aliasing"]
    strict = [*floats, "-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas"]
    paths = [f"-I{CSRC}", "-o", str(target), str(HERE / "kernels" / source)]
    subprocess.run([command, *strict, *options, *paths], check=True, capture_output=True, text=True)
    return target


class EmulatedLauncher:
    """Runs kernels at once. Chance, from `seed` on, says in which order blocks, warps and lanes do what they may do in any."""

    device = torch.device("cpu")

    def __init__(self, library: Path, seed: int = 0) -> None:
        self._library = ctypes.CDLL(str(library))
        self._library.seed_chance(seed)

    def __call__(self, kernel: str, blocks: int, arguments: Arguments) -> None:
        expected, threads = KERNELS[kernel]
        assert isinstance(arguments, expected)
        self._library[f"launch_{kernel}"](ctypes.c_uint64(blocks), ctypes.c_uint32(threads), ctypes.byref(arguments))

    def size_of(self, kernel: str) -> int:
        """Bytes of the kernel's arguments, as the compiler sees them."""
        return int(self._library[f"size_of_{kernel}"]())
