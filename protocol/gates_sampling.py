"""Which samples a gate looks at, and in which order: a function of a seed, the same on every machine and in every version."""

from .record import sha256


def draw(seed: bytes, population: int, count: int) -> list[int]:
    """Return `count` different numbers below `population`, in random order (all of them, if it is no more).

    The first steps of a shuffle (Fisher & Yates, Durstenfeld 1964) by words of SHA-256 in counter mode, scaled by multiplication
    (Lemire 2019, bias below population / 2**64); what is not reached takes no memory.
    """
    moved: dict[int, int] = {}
    drawn = []
    for at in range(min(count, population)):
        word = int.from_bytes(sha256(seed + at.to_bytes(8, "little"))[:8], "little")
        other = at + (word * (population - at) >> 64)
        drawn.append(moved.get(other, other))
        moved[other] = moved.get(at, at)
    return drawn
