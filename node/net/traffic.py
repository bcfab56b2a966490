"""Bytes and refusals as plain counters, which the metrics read."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Traffic:
    """Bytes by kind (`blob`, `rpc`, `gossip`) and refusals by reason, since the start of this process."""

    sent: Counter[str] = field(default_factory=Counter)
    received: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
