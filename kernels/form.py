"""What a sparse chunk looks like on the wire, from its size, its tensor's density and the value bits."""

from __future__ import annotations

from dataclasses import dataclass

from .codec import CHUNK, DENSE, K_STEP, MAX_VALUE_BITS

LENGTH_BITS = 8
HI_BITS = 16
LO_BITS = 8


@dataclass(frozen=True)
class Form:
    """A chunk of `size` elements that keeps `kept` of them, in `value_bits` each; `dense`: all, by its tensor's density."""

    size: int
    kept: int
    value_bits: int
    dense: bool = False

    @classmethod
    def of(cls, size: int, density: int, value_bits: int) -> Form:
        """The form of a chunk of a tensor with this density byte."""
        if density == DENSE:
            return cls(size, size, MAX_VALUE_BITS, dense=True)
        return cls(size, -(-K_STEP * density * size // CHUNK), value_bits)

    @property
    def levels(self) -> int:
        """One bit is the sign; the others choose a level."""
        return 1 << (self.value_bits - 1)

    @property
    def has_gaps(self) -> bool:
        """Whether anything is left out, so that positions are written."""
        return self.kept < self.size

    @property
    def remainder(self) -> int:
        """r, the bits of a gap that stand in the record: the power of two nearest below 0.7 of the mean gap.

        Golomb's optimum for a geometric distribution is ln 2 of the mean (Gallager & van Voorhis 1975).
        """
        return max(0, (7 * self.size // (10 * self.kept)).bit_length() - 1) if self.has_gaps else 0

    @property
    def widths(self) -> tuple[int, int, int, int, int, int]:
        """Bits of the record's fields: length, hi, lo, remainders, signs, codes."""
        length = LENGTH_BITS if self.has_gaps else 0
        lo = LO_BITS if self.levels > 1 else 0
        return length, HI_BITS, lo, self.kept * self.remainder, self.kept, self.kept * (self.value_bits - 1)

    @property
    def record_bytes(self) -> int:
        """Bytes of the record, filled up."""
        return -(-sum(self.widths) // 8)

    @property
    def least_bitmap(self) -> int:
        """Bytes of the shortest bitmap."""
        return -(-self.kept // 8) if self.has_gaps else 0

    @property
    def most_bitmap(self) -> int:
        """Bytes of the longest bitmap: the quotients of a chunk's gaps add up to no more than their sum's."""
        return -(-(self.kept + ((self.size - self.kept) >> self.remainder)) // 8) if self.has_gaps else 0
