"""The network's own counters, read whenever somebody scrapes; kinds and reasons that are not on our lists are folded together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import product
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from .labels import BYTE_KINDS, CHANNELS, DIRECTIONS, MESSAGE_KINDS, OTHER, REASONS, bounded

Pair = tuple[str, str]


class TrafficCounters(Protocol):
    """Bytes by kind, messages by `direction_kind` and refusals by `channel_reason`, since the start (`net.traffic.Traffic`)."""

    sent: Counter[str]
    received: Counter[str]
    messages: Counter[str]
    refused: Counter[str]


class TrafficCollector(Collector):
    """What passed through the network, and what was refused."""

    def __init__(self, traffic: TrafficCounters) -> None:
        self._traffic = traffic

    def collect(self) -> list[Metric]:
        return [self._bytes(), self._messages(), self._refused()]

    def _bytes(self) -> Metric:
        traffic = self._traffic
        totals = dict.fromkeys(product(DIRECTIONS, (*BYTE_KINDS, OTHER)), 0)
        for direction, counter in zip(DIRECTIONS, (traffic.sent, traffic.received), strict=True):
            for kind, count in dict(counter).items():
                totals[direction, bounded(kind, BYTE_KINDS)] += count
        return _family("collab_network_bytes", "Bytes by direction and kind.", ("direction", "kind"), totals)

    def _messages(self) -> Metric:
        totals = dict.fromkeys(product(DIRECTIONS, (*MESSAGE_KINDS, OTHER)), 0)
        for direction, kind, count in _split(self._traffic.messages):
            totals[direction, bounded(kind, MESSAGE_KINDS)] += count
        return _family("collab_gossip_messages", "Messages by direction and kind.", ("direction", "kind"), totals)

    def _refused(self) -> Metric:
        totals = dict.fromkeys(((channel, OTHER) for channel in CHANNELS), 0)
        for channel, reason, count in _split(self._traffic.refused):
            key = bounded(channel, CHANNELS), bounded(reason, REASONS)
            totals[key] = totals.get(key, 0) + count
        return _family("collab_network_refused", "What was refused, by channel and reason.", ("channel", "reason"), totals)


def _split(counter: Counter[str]) -> Iterable[tuple[str, str, int]]:
    """Take names such as `gossip_bad_signature` apart at the first underscore."""
    for name, count in dict(counter).items():  # a copy: the daemon goes on counting in another thread
        first, _, rest = name.partition("_")
        yield first, rest, count


def _family(name: str, help: str, labels: Pair, totals: Mapping[Pair, int]) -> Metric:
    family = CounterMetricFamily(name, help, labels=labels)
    for values, count in sorted(totals.items()):
        family.add_metric(values, count)
    return family
