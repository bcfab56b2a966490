"""The swarm as one node sees it, for the dashboard: the peers, the committee, bytes and refusals, and which parts work."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from ..metrics.labels import BYTE_KINDS, REASONS, bounded

if TYPE_CHECKING:
    from ..node import Node

_MOST_PEERS = 1024


def observe_swarm(node: Node) -> dict[str, Any]:
    """Return plain values. Samples, steps, loss (nats a token) and rate (samples a second) are of the round that runs.

    `peers` holds at most 1024 by peer id, this node among them; `committee` decides on the next commit, its first proposes.
    """
    traffic = node.network.traffic
    return {
        "peers": _peers(node),
        "committee": _committee(node),
        "sent": _folded(traffic.sent),
        "received": _folded(traffic.received),
        "refused": dict(_reasons(traffic.refused)),
        "parts": node.parts,
    }


def _peers(node: Node) -> dict[str, dict[str, Any]]:
    network = node.network
    gossip = network.gossip_peers
    peers: dict[str, dict[str, Any]] = {node.identity.peer_id: _self(node)}
    for peer, record in network.peers.items():
        peers[peer] = {"round": record.round, "trains": record.trains, "version": record.version}
    for peer in gossip:
        peers.setdefault(peer, {})["gossip"] = True
    machine = node.driver.machine if node.driver is not None else None
    if machine is not None:
        for peer, said in machine.training_peers.items():
            told = {"trains": True, "samples": said.samples, "steps": said.steps, "loss": said.loss, "rate": said.rate}
            peers.setdefault(peer, {}).update(told)
        for claim in machine.claims:
            peers.setdefault(claim.signed.signer, {})["done"] = True
    return dict(list(peers.items())[:_MOST_PEERS])


def _self(node: Node) -> dict[str, Any]:
    found: dict[str, Any] = {"trains": node.options.trains, "self": True}
    if node.driver is not None:
        found["round"] = node.history.head.round
        training = node.driver.training
        if training is not None:
            rate = training.tokens_per_second / max(1, node.host.opened.tokens_per_sample)
            found |= {"samples": training.samples, "steps": training.steps, "loss": training.loss, "rate": rate}
    return found


def _committee(node: Node) -> list[str]:
    machine = node.driver.machine if node.driver is not None else None
    return [] if machine is None else list(machine.poll.voting.committee().members)


def _folded(counter: Counter[str]) -> dict[str, int]:
    totals: Counter[str] = Counter(dict.fromkeys(BYTE_KINDS, 0))
    for kind, count in dict(counter).items():
        totals[bounded(kind, BYTE_KINDS)] += count
    return dict(totals)


def _reasons(refused: Counter[str]) -> Counter[str]:
    totals: Counter[str] = Counter()
    for name, count in dict(refused).items():
        totals[bounded(name.partition("_")[2], REASONS)] += count
    return totals
