"""Canonical msgpack: one byte string for one value, and one value for one byte string.

The subset: None, bool, integers (64 bits), float64, bytes, str, arrays (tuples) and maps with string keys in the order of
their UTF-8 bytes; every header in its shortest form. The decoder checks a claimed length against the bytes that are really
there before it builds anything, so memory is bounded by the input's size.

Format: https://github.com/msgpack/msgpack/blob/master/spec.md
"""

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import msgpack

from .errors import LocalProtocolError, RemoteProtocolError

Value: TypeAlias = "None | bool | int | float | bytes | str | tuple[Value, ...] | dict[str, Value]"


@dataclass(frozen=True)
class Limits:
    """What a decoder accepts: `size` in bytes, `depth` of nesting, `items` in all arrays and maps together."""

    size: int = 64 * 1024
    depth: int = 12
    items: int = 16 * 1024


MESSAGE_LIMITS = Limits()
DOCUMENT_LIMITS = Limits(size=4 * 1024 * 1024, depth=12, items=512 * 1024)


def encode(value: object) -> bytes:
    """Return the one encoding of `value`. Raises LocalProtocolError for what has none (NaN, other types, other keys)."""
    try:
        encoded = msgpack.packb(_normal(value), use_bin_type=True, strict_types=True)
    except (TypeError, ValueError, OverflowError) as error:
        raise LocalProtocolError(f"not encodable: {error}") from error
    assert isinstance(encoded, bytes)
    return encoded


def _normal(value: object) -> object:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        if math.isnan(value):
            raise ValueError("NaN has no canonical encoding")
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if isinstance(value, tuple | list):
        return [_normal(item) for item in value]
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("map keys are strings")
        return {key: _normal(value[key]) for key in sorted(value, key=lambda key: key.encode())}
    raise TypeError(f"{type(value).__name__} has no canonical encoding")


def decode(data: bytes | bytearray | memoryview, limits: Limits = MESSAGE_LIMITS) -> Value:
    """Return the value that `data` encodes.

    Raises RemoteProtocolError("oversized") beyond `limits` and RemoteProtocolError("malformed") for anything that `encode`
    would not have written.
    """
    if len(data) > limits.size:
        raise RemoteProtocolError("oversized", f"{len(data)} bytes where {limits.size} are allowed")
    reader = _Reader(bytes(data), limits)
    value = reader.value(limits.depth)
    if reader.position != len(reader.data):
        raise RemoteProtocolError("malformed", "trailing bytes")
    return value


# Header byte → (bytes of the length or number that follows, smallest value for which this form is the shortest).
_UNSIGNED = {0xCC: (1, 1 << 7), 0xCD: (2, 1 << 8), 0xCE: (4, 1 << 16), 0xCF: (8, 1 << 32)}
_SIGNED = {0xD0: (1, -(1 << 5)), 0xD1: (2, -(1 << 7)), 0xD2: (4, -(1 << 15)), 0xD3: (8, -(1 << 31))}
_BIN = {0xC4: (1, 0), 0xC5: (2, 1 << 8), 0xC6: (4, 1 << 16)}
_STR = {0xD9: (1, 1 << 5), 0xDA: (2, 1 << 8), 0xDB: (4, 1 << 16)}
_ARRAY = {0xDC: (2, 1 << 4), 0xDD: (4, 1 << 16)}
_MAP = {0xDE: (2, 1 << 4), 0xDF: (4, 1 << 16)}
_FLOAT = struct.Struct(">d")


class _Reader:
    def __init__(self, data: bytes, limits: Limits) -> None:
        self.data = data
        self.position = 0
        self.items_left = limits.items

    def take(self, count: int) -> bytes:
        end = self.position + count
        if end > len(self.data):
            raise RemoteProtocolError("malformed", "truncated")
        taken = self.data[self.position : end]
        self.position = end
        return taken

    def number(self, form: tuple[int, int]) -> int:
        width, smallest = form
        value = int.from_bytes(self.take(width), "big")
        if value < smallest:
            raise RemoteProtocolError("malformed", "a header that is not the shortest")
        return value

    def value(self, depth: int) -> Value:
        if depth == 0:
            raise RemoteProtocolError("oversized", "nested too deep")
        if self.position >= len(self.data):
            raise RemoteProtocolError("malformed", "truncated")
        head = self.data[self.position]
        self.position += 1
        if head < 0x80:
            return head
        if 0xA0 <= head < 0xC0:
            return self.text(head & 0x1F)
        if head >= 0xE0:
            return head - 0x100
        if head < 0x90:
            return self.map(head & 0x0F, depth)
        if head < 0xA0:
            return self.array(head & 0x0F, depth)
        return self.long_form(head, depth)

    def long_form(self, head: int, depth: int) -> Value:
        if head in _CONSTANTS:
            return _CONSTANTS[head]
        if head == 0xCB:
            return self.float()
        if head in _BIN:
            return self.take(self.number(_BIN[head]))
        if head in _STR:
            return self.text(self.number(_STR[head]))
        if head in _UNSIGNED:
            return self.number(_UNSIGNED[head])
        if head in _SIGNED:
            return self.negative(_SIGNED[head])
        if head in _ARRAY:
            return self.array(self.number(_ARRAY[head]), depth)
        if head in _MAP:
            return self.map(self.number(_MAP[head]), depth)
        raise RemoteProtocolError("malformed", f"header {head:#04x}")

    def negative(self, form: tuple[int, int]) -> int:
        width, bound = form
        value = int.from_bytes(self.take(width), "big", signed=True)
        if value >= bound:
            raise RemoteProtocolError("malformed", "an integer that is not in its shortest form")
        return value

    def float(self) -> float:
        (value,) = _FLOAT.unpack(self.take(8))
        assert isinstance(value, float)
        if math.isnan(value):
            raise RemoteProtocolError("malformed", "NaN")
        return value

    def text(self, length: int) -> str:
        return _text(self.take(length))

    def key(self) -> bytes:
        head = self.take(1)[0]
        if 0xA0 <= head < 0xC0:
            return self.take(head & 0x1F)
        if head in _STR:
            return self.take(self.number(_STR[head]))
        raise RemoteProtocolError("malformed", "a map key that is not a string")

    def count(self, items: int) -> None:
        # Every item takes at least a byte: a claim beyond the bytes that are left is refused before anything is built.
        if items > len(self.data) - self.position:
            raise RemoteProtocolError("malformed", "truncated")
        self.items_left -= items
        if self.items_left < 0:
            raise RemoteProtocolError("oversized", "too many items")

    def array(self, length: int, depth: int) -> tuple[Value, ...]:
        self.count(length)
        return tuple(self.value(depth - 1) for _ in range(length))

    def map(self, length: int, depth: int) -> dict[str, Value]:
        self.count(2 * length)
        result: dict[str, Value] = {}
        last: bytes | None = None
        for _ in range(length):
            key = self.key()
            if last is not None and key <= last:
                raise RemoteProtocolError("malformed", "map keys out of order")
            last = key
            result[_text(key)] = self.value(depth - 1)
        return result


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise RemoteProtocolError("malformed", "text that is not UTF-8") from error


_CONSTANTS: dict[int, Value] = {0xC0: None, 0xC2: False, 0xC3: True}
