"""Which samples a trainer draws: a function of (event, round, PeerId), so that anyone can audit it."""

import hashlib
from itertools import count as counter

from .canonical import encode


def sample_indices(event: bytes, round: int, peer_id: str, start: int, count: int, population: int) -> list[int]:
    """Return draws `start` … `start + count - 1` of the trainer's sequence for a round, each in [0, population).

    Draws are independent and uniform (with replacement): 64-bit words of SHA-256 in counter mode, scaled by multiplication
    (Lemire 2019, bias below population / 2**64).
    """
    if population <= 0:
        raise ValueError("a population of at least one sample is needed")
    seed = hashlib.sha256(b"collab-node/samples/1" + encode([event, round, peer_id])).digest()
    draws: list[int] = []
    for block in counter(start // 4):
        if len(draws) >= count + start % 4:
            break
        word = hashlib.sha256(seed + block.to_bytes(8, "little")).digest()
        draws += [int.from_bytes(word[at : at + 8], "little") * population >> 64 for at in (0, 8, 16, 24)]
    return draws[start % 4 : start % 4 + count]
