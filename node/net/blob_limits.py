"""How much of serving and fetching blobs goes on at once, and how long anyone is waited for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BlobLimits:
    """Bounds on serving (`serves` at once, `serves_per_peer`) and fetching (`fetches` blobs at once, each an open file; `streams`
    over all of them, `streams_of_peer` to one peer, and `streams_per_peer` to it within one blob; each stream buffers at most
    1 MiB). Seconds: `stall` without a byte, `part` for a whole part, `idle` between two requests.

    Who serves slowly holds his own streams, and not those that others are fetched from."""

    part_bytes: int = 4 * 1024 * 1024
    serves: int = 32
    serves_per_peer: int = 8
    fetches: int = 64
    streams: int = 16
    streams_of_peer: int = 4
    streams_per_peer: int = 2
    stall: float = 10.0
    part: float = 120.0
    idle: float = 30.0
