"""Reading a node for its metrics, again and again: the round that runs, the swarm in it, the network, the disk."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ...protocol.messages import Progress
from ...protocol.rounds.machine import RoundMachine
from ..net.errors import NetworkError
from .swarm_stats import SwarmStats

if TYPE_CHECKING:
    from ..node import Node
    from .round import RoundMetrics


async def measure_health(node: Node, seconds: float) -> None:
    """Keep the gauges of round, network and processes up to date, for ever."""
    while True:
        if node.driver is not None and (machine := node.driver.machine) is not None:
            measure_round(node.metrics.round, machine, node.driver.began, time.monotonic())
            node.metrics.round.swarm(SwarmStats.of(_trainers(machine)))
        await _measure_network(node)
        await asyncio.sleep(seconds)


def measure_round(metrics: RoundMetrics, machine: RoundMachine, began: float, now: float) -> None:
    """Show where the round is; it began at `began` (monotonic seconds, as is `now`)."""
    setting, voting = machine.setting, machine.poll.voting
    committee = voting.committee()
    rounds = setting.event.rounds
    metrics.age.set(0.0 if setting.is_over else now - began)
    metrics.limit.set(rounds.deadline + rounds.collect + rounds.view)
    metrics.phase(machine.phase.value)
    metrics.contributions.set(len(machine.claims))
    metrics.committee.set(len(committee.members))
    metrics.quorum.set(committee.quorum)
    metrics.present.set(machine.committee_here)
    metrics.epoch.set(voting.turn.epoch)
    metrics.view.set(voting.turn.view)


def _trainers(machine: RoundMachine) -> Iterable[Progress]:
    """Return the newest words of each trainer; our own are not among those that the machine heard."""
    yield from machine.training_peers.values()
    if machine.setting.trains:
        yield machine.own_progress


async def _measure_network(node: Node) -> None:
    metrics, network = node.metrics.health, node.network
    metrics.peers.set(len(network.peers))
    metrics.banned.set(len(network.host.banned))
    metrics.gossip_peers.set(len(network.gossip_peers))
    metrics.gossip_mesh.set(sum((await network.gossip.stats()).get("mesh", {}).values()))
    metrics.dht_nodes.set(network.directory.size)
    with suppress(NetworkError):
        metrics.connections.set(await network.host.connections())
    for part, works in node.parts.items():
        metrics.works(part, works)


async def measure_disk(node: Node, seconds: float) -> None:
    """Keep the gauges of store and disk up to date, for ever; the store is read in a thread."""
    metrics, store = node.metrics.health, node.options.folder.store_path
    while True:
        with suppress(OSError):
            usage = shutil.disk_usage(node.options.home.path)
            metrics.disk_free.set(usage.free)
            metrics.disk_size.set(usage.total)
        metrics.store_size.set(await asyncio.to_thread(folder_size, store))
        snapshot = node.store.latest_snapshot()
        metrics.snapshot_round.set(snapshot.round if snapshot is not None else 0)
        await asyncio.sleep(seconds)


def folder_size(path: Path) -> int:
    """Return the bytes of all files under `path`; a file that goes meanwhile counts nothing."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(folder, name)).st_size
    return total
