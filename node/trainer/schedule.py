"""The inner learning rate, as a function of the samples that the whole swarm has trained on.

A volunteer who joins late, or trains slowly, has the same rate as everyone else: steps are private, samples are shared.
"""

from __future__ import annotations

import math

from ...protocol.event import InnerOptimiser


def learning_rate(inner: InnerOptimiser, samples: int) -> float:
    """Return the rate at `samples`: linear warm-up, a cosine down to `final_rate_share` of the peak, then constant."""
    if samples < inner.warmup_samples:
        return inner.rate * (samples + 1) / (inner.warmup_samples + 1)
    span = max(1, inner.total_samples - inner.warmup_samples)
    done = min(1.0, (samples - inner.warmup_samples) / span)
    share = inner.final_rate_share + (1 - inner.final_rate_share) * 0.5 * (1 + math.cos(math.pi * done))
    return inner.rate * share


def swarm_samples(base_samples: int, own_samples: int, peers: int) -> int:
    """Return the estimate of the swarm's samples so far.

    `base_samples` is exact (the base commit's count); what the others did since is not known yet, so each of the `peers`
    contributors, this one included, is taken to be as far as this one.
    """
    return base_samples + own_samples * max(1, peers)
