"""How much of serving and fetching blobs goes on at once, and how long anyone is waited for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BlobLimits:
    """Bounds on serving (`serves` at once, `serves_per_peer`) and fetching (`fetches` blobs at once; `streams` over all of
    them and `streams_per_peer` within one; each stream buffers at most 1 MiB). Seconds: `stall` without a byte, `part` for a
    whole part, `idle` between two requests."""

    part_bytes: int = 4 * 1024 * 1024
    serves: int = 32
    serves_per_peer: int = 8
    fetches: int = 4
    streams: int = 16
    streams_per_peer: int = 2
    stall: float = 10.0
    part: float = 120.0
    idle: float = 30.0
