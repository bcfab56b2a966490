"""What commands on this machine can ask of the running daemon over its control socket."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .control import Handler
from .errors import UserError
from .frames import Message
from .observe import observe

if TYPE_CHECKING:
    from .node import Node


def requests(node: Node, stop: asyncio.Event) -> dict[str, Handler]:
    """Return the handlers by name."""

    async def status(request: Message) -> Mapping[str, Any]:
        return observe(node).to_dict()

    async def end(request: Message) -> Mapping[str, Any]:
        stop.set()
        return {}

    async def commit(request: Message) -> Mapping[str, Any]:
        round = request.get("round")
        _require_ready(node)
        digest = node.history.head.digest if round is None else node.history.at_round(int(round))
        found = node.history.get(digest) if digest is not None else None
        if found is None:
            raise UserError(f"this node has no commit of round {round}")
        return {"commit": found.digest.hex(), "round": found.round, "state": found.state.hex(), "samples": found.samples}

    async def evaluate(request: Message) -> Mapping[str, Any]:
        _require_ready(node)
        return {"loss": await node.evaluate(int(request.get("samples", 0))), "round": node.history.head.round}

    return {"status": status, "stop": end, "commit": commit, "evaluate": evaluate}


def _require_ready(node: Node) -> None:
    if node.driver is None:
        raise UserError(f"the node is not ready yet: {node.phase}")
