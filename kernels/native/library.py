"""The compiled library and its C interface (`csrc/cpu_api.cpp`), by ctypes. Calls release the interpreter's lock."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import POINTER, Structure, c_float, c_int64, c_uint8, c_uint32, c_uint64, c_void_p
from dataclasses import dataclass
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any, Final

from ..errors import NonFiniteError, PayloadError

ABI: Final = 1
INSTRUCTIONS: Final = ("portable", "avx2", "avx512")
"""Instruction sets by the library's numbers."""

_NOT_FINITE: Final = -1
_REFUSALS: Final = (
    "a payload's densities are out of range",
    "a payload has more or fewer bytes than its records and bitmaps need",
    "payload is damaged: its checksum differs",
    "a chunk's bitmap is longer than its gaps can be",
    "a chunk's bitmap ends with a byte of zeros",
    "a chunk is filled up with nonzero bits",
    "a chunk's scale is not zero, nor positive, finite and large enough",
    "a chunk of zeros has levels",
    "a chunk gives a sign to a zero",
    "a chunk marks more or fewer positions than it has values",
    "a chunk's positions lie beyond its end",
    "a dense payload holds NaN or an infinity",
)
"""Why a payload is refused, by the library's numbers from 1 on."""


class Source(Structure):
    """Where one tensor is read and written while it is compressed: addresses (`residual` may be None)."""

    _fields_ = (("delta", c_void_p), ("residual", c_void_p), ("out", c_void_p), ("is_bf16", c_uint64))


class Patch(Structure):
    """A payload whose header belongs to the layout. Whoever makes one keeps the payload alive and unchanged."""

    _fields_ = (
        ("payload", c_void_p),
        ("bytes", c_uint64),
        ("kind", c_uint32),
        ("value_bits", c_uint32),
        ("weight", c_float),
        ("unused", c_uint32),
    )


_SHAPE: Final = (POINTER(c_uint64), c_uint64)
_RUN: Final = (c_uint32, c_uint32)
_SIGNATURES: Final[dict[str, tuple[Any, ...]]] = {  # the result, then arguments
    "collab_abi": (c_uint32,),
    "collab_sets": (c_uint32,),
    "collab_seal": (None, c_void_p, c_uint64),
    "collab_most_bytes": (c_uint64, *_SHAPE, POINTER(c_uint8), c_uint32),
    "collab_compress": (c_int64, *_SHAPE, POINTER(c_uint8), POINTER(Source), c_uint32, c_float, *_RUN, c_void_p),
    "collab_compress_halves": (c_int64, *_SHAPE, POINTER(Source), c_float, *_RUN, c_void_p),
    "collab_check": (c_int64, *_SHAPE, POINTER(Patch), c_uint64, *_RUN),
    "collab_accumulate": (c_int64, *_SHAPE, POINTER(Patch), c_uint64, POINTER(c_void_p), *_RUN),
    "collab_entries": (c_int64, *_SHAPE, POINTER(Patch), c_void_p, c_void_p, *_RUN),
}


class LibraryError(Exception):
    """There is no library that can be used; the message says why."""


@dataclass(frozen=True)
class Run:
    """How a call is carried out: no result depends on it."""

    threads: int
    instructions: str


class Library:
    """The C functions with Python's types. `elements` are each tensor's, in the layout's order; addresses are integers."""

    def __init__(self, path: Path) -> None:
        try:
            self._c = ctypes.CDLL(str(path))
            for name, (result, *arguments) in _SIGNATURES.items():
                function = getattr(self._c, name)
                function.restype, function.argtypes = result, arguments
            abi = self._c.collab_abi()
        except (OSError, AttributeError) as error:
            raise LibraryError(f"{path.name} cannot be loaded: {error}") from error
        if abi != ABI:
            raise LibraryError(f"{path.name} was built from other sources")

    @property
    def instructions(self) -> tuple[str, ...]:
        """The instruction sets that this machine has, the fastest last."""
        return INSTRUCTIONS[: self._c.collab_sets()]

    def seal(self, payload: int, size: int) -> None:
        """Write a payload's checksum into it."""
        self._c.collab_seal(payload, size)

    def most_bytes(self, elements: Sequence[int], densities: Sequence[int], value_bits: int) -> int:
        """The most bytes that follow the header of a sparse payload."""
        return int(self._c.collab_most_bytes(*_shape(elements), _array(c_uint8, densities), value_bits))

    def compress(
        self, elements: Sequence[int], densities: Sequence[int], sources: Sequence[Source], value_bits: int, decay: float,
        run: Run, body: int,
    ) -> int:  # fmt: skip
        """Write residuals, and to `body` what follows the header of a sparse payload. Returns its bytes. `NonFiniteError`."""
        inputs = (_array(c_uint8, densities), _array(Source, sources), value_bits, decay)
        return _written(self._c.collab_compress(*_shape(elements), *inputs, *_run(run), body))

    def compress_halves(self, elements: Sequence[int], sources: Sequence[Source], decay: float, run: Run, body: int) -> None:
        """The same for an fp16 payload."""
        _written(self._c.collab_compress_halves(*_shape(elements), _array(Source, sources), decay, *_run(run), body))

    def check(self, elements: Sequence[int], patch: Patch, run: Run) -> None:
        """Raise `PayloadError` unless the payload decodes."""
        _refuse(self._c.collab_check(*_shape(elements), patch, 1, *_run(run)))

    def accumulate(self, elements: Sequence[int], patches: Sequence[Patch], into: Sequence[int], run: Run) -> None:
        """Add weighted payloads to the tensors at `into`. `PayloadError`, before anything is changed."""
        inputs = (_array(Patch, patches), len(patches), _array(c_void_p, into))
        _refuse(self._c.collab_accumulate(*_shape(elements), *inputs, *_run(run)))

    def entries(self, elements: Sequence[int], patch: Patch, index: int | None, values: int, run: Run) -> None:
        """Write positions (int64; not of fp16) and values (float32) of kept elements. `PayloadError`."""
        _refuse(self._c.collab_entries(*_shape(elements), patch, index, values, *_run(run)))


def find() -> Library:
    """The library that was built with this package. Raises `LibraryError`."""
    for suffix in EXTENSION_SUFFIXES:
        path = Path(__file__).with_name(f"_codec{suffix}")
        if path.exists():
            return Library(path)
    raise LibraryError("it was not built, for want of a C++ compiler")


def _array(kind: Any, items: Sequence[Any]) -> Any:
    return (kind * len(items))(*items)


def _shape(elements: Sequence[int]) -> tuple[Any, int]:
    return _array(c_uint64, elements), len(elements)


def _run(run: Run) -> tuple[int, int]:
    return run.threads, INSTRUCTIONS.index(run.instructions)


def _written(status: int) -> int:
    if status == _NOT_FINITE:
        raise NonFiniteError("the tensors to be compressed hold NaN or an infinity")
    return _with_memory(status)


def _refuse(status: int) -> None:
    if _with_memory(status):
        raise PayloadError(_REFUSALS[status - 1])


def _with_memory(status: int) -> int:
    if status < 0:
        raise MemoryError("the codec ran out of memory")
    return status
