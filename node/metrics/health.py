"""How this node's connections, processes, disk and clock are."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from .group import MetricGroup
from .labels import CHILDREN, PARTS, bounded


class HealthMetrics(MetricGroup):
    """Set by `health`, and when a child process dies."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry)
        self.peers = self.gauge("collab_peers", "Peers of the event in the directory, this node left out.")
        self.connections = self.gauge("collab_peer_connections", "Peers that p2pd is connected with.")
        self.banned = self.gauge("collab_peers_banned", "Peers that this node neither hears nor serves any more.")
        self.gossip_peers = self.gauge("collab_gossip_peers", "Peers that the gossip sidecar is connected with.")
        self.gossip_mesh = self.gauge("collab_gossip_mesh_peers", "Peers in the gossip mesh: whom messages are forwarded to.")
        self.dht_nodes = self.gauge("collab_dht_nodes", "Nodes in the DHT's routing table.")
        self._up = self.gauge("collab_up", "Whether a part of the node works (1) or not (0).", "part", PARTS)
        self._restarts = self.counter(
            "collab_child_restarts_total", "Times a child process died and was started again.", "child", CHILDREN
        )
        self.store_size = self.gauge("collab_store_size_bytes", "Size of the store: commits, payloads and snapshots.")
        self.disk_free = self.gauge("collab_disk_free_bytes", "What is free on the disk that the node's home is on.")
        self.disk_size = self.gauge("collab_disk_size_bytes", "Size of the disk that the node's home is on.")
        self.snapshot_round = self.gauge("collab_snapshot_round", "Round of this node's newest snapshot; 0 while there is none.")
        self.clock_skew = self.unknown(
            "collab_clock_skew_seconds", "How far this node's clock is ahead of its peers' (median); NaN until one has answered."
        )

    def works(self, part: str, works: bool) -> None:
        """Say whether `dht` or a child process works."""
        self._up.labels(bounded(part, PARTS)).set(works)

    def restarted(self, child: str) -> None:
        """Count a restart of a child process."""
        self._restarts.labels(bounded(child, CHILDREN)).inc()
