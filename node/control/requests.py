"""What commands on this machine can ask of the running daemon over its control socket."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..display.observe import observe
from ..display.observe_swarm import observe_swarm
from ..errors import UserError
from ..processes.frames import Message
from ..processes.ipc import ChannelClosed, RemoteFailure
from ..rounds import evaluating
from .owner_requests import care
from .remote_requests import between_nodes
from .socket import Handler

if TYPE_CHECKING:
    from ..node import Node


def requests(node: Node, stop: asyncio.Event) -> dict[str, Handler]:
    """Return the handlers by name."""

    async def status(request: Message) -> Mapping[str, Any]:
        return observe(node).to_dict()

    async def swarm(request: Message) -> Mapping[str, Any]:
        return observe_swarm(node)

    async def end(request: Message) -> Mapping[str, Any]:
        stop.set()
        return {}

    async def commit(request: Message) -> Mapping[str, Any]:
        _require_ready(node)
        round = _number(request, "round", node.history.head.round)
        digest = node.history.at_round(round)
        found = node.history.get(digest) if digest is not None else None
        if found is None:
            raise UserError(f"this node has no commit of round {round}")
        return {"commit": found.digest.hex(), "round": found.round, "state": found.state.hex(), "samples": found.samples}

    async def evaluate(request: Message) -> Mapping[str, Any]:
        _require_ready(node)
        if node.pausing.reason:
            raise UserError(f"the node is paused: {node.pausing.reason}", "`collab-node resume` first")
        samples = _number(request, "samples", 0)
        try:
            return {"loss": await evaluating.evaluate(node, samples), "round": node.history.head.round}
        except RemoteFailure as failure:
            raise UserError(failure.text) from failure
        except ChannelClosed as error:
            raise UserError("the trainer ended while it was asked", "ask again") from error

    return {
        "status": status, "swarm": swarm, "stop": end, "commit": commit, "evaluate": evaluate,
        **care(node), **between_nodes(node),
    }  # fmt: skip


def _require_ready(node: Node) -> None:
    if node.driver is None:
        raise UserError(f"the node is not ready yet: {node.phase}")


def _number(request: Message, name: str, default: int) -> int:
    value = request.get(name)
    if value is None:
        return default
    if not isinstance(value, int) or value < 0:
        raise UserError(f"{name} is a number from 0 on, not {value!r}")
    return value
