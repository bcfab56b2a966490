"""The structs that kernels take, field for field as in kernels/csrc/*.h, and the rows of the tables that they point to."""

from __future__ import annotations

import struct
from ctypes import Structure, c_float, c_uint64


class Arguments(Structure):
    """One kernel's arguments. Pointers are addresses of tensors, which whoever launches the kernel keeps alive."""


class Table(Structure):
    _fields_ = [("tensors", c_uint64), ("owners", c_uint64), ("chunks", c_uint64), ("value_bits", c_uint64)]


class Part(Structure):
    """A payload on the device; see kernels/csrc/decode.h."""

    _fields_ = [
        ("table", Table),
        ("records", c_uint64),
        ("bitmaps", c_uint64),
        ("ends", c_uint64),
        ("bitmap_bytes", c_uint64),
        ("weight", c_uint64),
        ("clip", c_uint64),
        ("fisher", c_uint64),
        ("mean", c_uint64),
    ]


class Compress(Arguments):
    _fields_ = [
        ("table", Table),
        ("sources", c_uint64),
        ("records", c_uint64),
        ("slots", c_uint64),
        ("slot_bytes", c_uint64),
        ("lengths", c_uint64),
        ("nonfinite", c_uint64),
        ("decay", c_float),
    ]


class Pack(Arguments):
    _fields_ = [("slots", c_uint64), ("slot_bytes", c_uint64), ("ends", c_uint64), ("bitmaps", c_uint64)]


class Lengths(Arguments):
    _fields_ = [("table", Table), ("records", c_uint64), ("lengths", c_uint64), ("fault", c_uint64)]


class Check(Arguments):
    _fields_ = [("part", Part), ("fault", c_uint64)]


class Accumulate(Arguments):
    _fields_ = [("parts", c_uint64), ("count", c_uint64), ("into", c_uint64)]


class List(Arguments):
    _fields_ = [("part", Part), ("index", c_uint64), ("values", c_uint64)]


class Squares(Arguments):
    _fields_ = [("table", Table), ("squares", c_uint64)]


class Merge(Arguments):
    _fields_ = [
        ("parts", c_uint64),
        ("count", c_uint64),
        ("weights", c_uint64),
        ("fishers", c_uint64),
        ("tempers", c_uint64),
        ("merged", c_uint64),
        ("damping", c_float),
        ("limit", c_float),
    ]


KERNELS: dict[str, tuple[type[Arguments], int]] = {
    "compress_chunks": (Compress, 256),
    "pack_bitmaps": (Pack, 32),
    "read_lengths": (Lengths, 32),
    "check_chunks": (Check, 32),
    "accumulate_chunks": (Accumulate, 32),
    "list_chunks": (List, 32),
    "square_chunks": (Squares, 256),
    "merge_chunks": (Merge, 32),
}
"""Every kernel's arguments and threads a block."""


def bits_of_single(value: float) -> int:
    """The bits of a number that is rounded once to float32."""
    return int.from_bytes(struct.pack("<f", value), "little")


def bits_of_double(value: float) -> int:
    return int.from_bytes(struct.pack("<d", value), "little")
