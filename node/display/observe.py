"""Reading a node: the view that displays and `status` show."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ...protocol.merging import parts
from ..amendments.words import ANNOUNCEMENTS, end_words
from ..dashboard.reasons import refused_words
from ..units import counted
from .view import NodeView
from .waiting import waits_for

if TYPE_CHECKING:
    from ..node import Node


_BOARD = 5


def observe(node: Node) -> NodeView:
    """Return what the node is doing now."""
    traffic = node.network.traffic
    view = {
        "event": node.event.name if hasattr(node, "event") else node.options.event.hex()[:16],
        "event_id": node.options.event.hex(),
        "peer": node.identity.peer_id,
        "trains": node.options.trains,
        "phase": node.phase,
        "message": node.phase,
        "held_out_loss": node.held_out_loss,
        "peers": len(node.network.peers),
        "gossip_peers": len(node.network.gossip_peers),
        "bytes_sent": sum(traffic.sent.values()),
        "bytes_received": sum(traffic.received.values()),
        "restarts": node.deaths,
        "metrics_port": node.metrics_port,
        "accepted_samples": node.accounting.taken,
        "samples": node.own_training.samples,
        "addresses": node.addresses,
        "name": node.options.settings.name,
        "warning": node.warning,
        "leaves": node.loop.leaves,
    }
    if node.driver is not None:
        view |= _round(node)
        if node.phase == "stopped":
            view["message"] = "All is kept: `collab-node join`, or `seed`, goes on from here."
    if node.pausing.reason and node.phase not in ("stopping", "stopped"):
        who = next(who for who in ("owner", "coordinators", "manners") if who in node.pausing.reasons)
        message = f"paused: {node.pausing.reason}"
        view |= {"paused": node.pausing.reason, "pauser": who, "phase": "paused", "message": message}
    return NodeView(**view)  # type: ignore[arg-type]


def _round(node: Node) -> dict[str, object]:
    assert node.driver is not None
    state = node.history.in_force
    head, machine, training = node.history.head, node.driver.machine, node.driver.training
    mine = [part.share for part in parts(head) if part.signed.signer == node.identity.peer_id]
    found: dict[str, object] = {
        "event": node.event.name,
        "round": head.round,
        "commit": head.digest.hex(),
        "state": head.state.hex(),
        "contributors": len(head.accepted),
        "refused": refused_words(rejected.reason for rejected in head.rejected),
        "share": float(sum(mine)) if head.accepted else None,
        "swarm_samples": head.samples,
        "steps": node.history.amendments.event_on(head).inner.steps,
        "announcements": tuple(each.text for each in state.announcements[-ANNOUNCEMENTS:]),
        "decided": end_words(state, head.round),
        "device": node.host.opened.device,
        "loss": head.loss,
    }
    board = node.leaderboard
    rank, credit = board.place(node.identity.peer_id)
    found |= {
        "rank": rank, "ranked": len(board.ranking), "losses": tuple(board.losses), "board": tuple(board.first(_BOARD)),
        "credit_samples": credit.samples, "credit_contributions": credit.contributions,
        "credit_checked": credit.checked, "credit_gates": credit.gates, "credit_served": credit.served,
    }  # fmt: skip
    if training is not None:
        found |= {
            "step": training.steps,
            "round_samples": training.samples,
            "loss": training.loss,
            "tokens_per_second": training.tokens_per_second,
        }
    if node.phase == "round" and machine is not None:
        closes, now = machine.closes_at, time.monotonic()
        found |= {
            "phase": machine.phase.value,
            "phase_seconds_left": None if closes is None or closes <= now else closes - now,
            "message": _words(node),
            "waits": waits_for(machine, node.driver.began, now),
        }
    return found


def _words(node: Node) -> str:
    """Say in words what the round waits for."""
    assert node.driver is not None
    machine = node.driver.machine
    assert machine is not None
    claims, trainers = len(machine.claims), len(machine.training_peers) + node.options.trains
    wanted = max(claims, trainers, machine.setting.event.rounds.min_contributors)
    match machine.phase.value:
        case "training":
            return "training" if node.options.trains else counted(trainers, "peer trains", "peers train")
        case "collecting":
            return f"collecting contributions: {claims} of {wanted}" if claims else "waiting for contributions"
        case "voting":
            return f"the committee replays the merge of {counted(claims, 'contribution')}"
    return "the commit is final"
