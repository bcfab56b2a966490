"""How much each contribution counts in a merge: exact fractions, so that every node gets the same ones."""

from collections.abc import Sequence
from fractions import Fraction

_UNITS = 1 << 20


def shares(samples: Sequence[Fraction | int], cap: Fraction) -> list[Fraction]:
    """Return each contribution's share of the merge: its part of all samples, none above max(cap, 1/n).

    What a capped contribution gives up is spread over the others by their samples, so shares add up to one: whatever an
    attacker claims, its share is bounded, and nobody's work is lost.
    """
    if not samples:
        return []
    if any(sample <= 0 for sample in samples):
        raise ValueError("a contribution has at least one sample")
    limit = max(cap, Fraction(1, len(samples)))
    capped: set[int] = set()
    while True:
        free = [at for at in range(len(samples)) if at not in capped]
        left = 1 - limit * len(capped)
        total = sum((Fraction(samples[at]) for at in free), Fraction(0))
        above = {at for at in free if Fraction(samples[at]) * left > limit * total}
        if not above or len(above) == len(free):
            part = left / total if total else Fraction(0)
            return [limit if at in capped else Fraction(samples[at]) * part for at in range(len(samples))]
        capped |= above


def stale_samples(samples: int, staleness: int, decay: Fraction) -> Fraction:
    """Return the samples that a contribution counts for when its base is `staleness` commits old.

    Rounded down to 2**-20 of a sample (but never to nothing), so that shares stay fractions of a few bytes.
    """
    return Fraction(max(1, int(samples * decay**staleness * _UNITS)), _UNITS)
