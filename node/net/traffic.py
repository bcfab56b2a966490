"""Bytes and refusals as plain counters, which the metrics read."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Traffic:
    """Bytes by kind (`blob`, `rpc`, `gossip`), messages such as `sent_progress`, and refusals by reason, since we started."""

    sent: Counter[str] = field(default_factory=Counter)
    received: Counter[str] = field(default_factory=Counter)
    messages: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
