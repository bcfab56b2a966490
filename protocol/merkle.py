"""The state hash: a Merkle root over the named tensors' bytes, which makes two nodes' weights provably equal.

Leaves are blocks of 1 MiB, so that a wrong block of a large tensor can be named and proven without the rest. Hashing follows
RFC 6962, section 2.1: leaves and inner nodes have different prefixes, and a tree of n leaves splits at the largest power of two
below n.
"""

from collections.abc import Iterable, Sequence

from .canonical import encode
from .errors import LocalProtocolError
from .record import sha256

BLOCK_BYTES = 1 << 20


def state_hash(tensors: Iterable[tuple[str, tuple[int, ...], bytes | bytearray | memoryview]]) -> bytes:
    """Return the 32-byte root over (name, shape, float32 little-endian bytes) triples in the order of their names.

    Raises LocalProtocolError when names are not strictly ascending.
    """
    leaves: list[bytes] = []
    last: str | None = None
    for name, shape, data in tensors:
        if last is not None and name <= last:
            raise LocalProtocolError(f"tensor {name!r} out of order")
        last = name
        leaves.append(tensor_hash(name, shape, data))
    return root(leaves)


def tensor_hash(name: str, shape: tuple[int, ...], data: bytes | bytearray | memoryview) -> bytes:
    """Return the hash of one named tensor: its name, its shape and the root over its blocks."""
    view = memoryview(data).cast("B")
    blocks = [sha256(b"\0" + view[start : start + BLOCK_BYTES]) for start in range(0, len(view), BLOCK_BYTES)]
    return sha256(b"\2" + encode([name, list(shape)]) + root(blocks))


def root(leaves: Sequence[bytes]) -> bytes:
    """Return the RFC 6962 root of leaf hashes; of none, the hash of the empty string."""
    if not leaves:
        return sha256(b"")
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(b"\1" + root(leaves[:split]) + root(leaves[split:]))
