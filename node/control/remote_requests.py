"""`fetch` and `push` through the running node: over its network, with its key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from ..processes.frames import Message
from .socket import Handler

if TYPE_CHECKING:
    from ..node import Node
    from ..remotes.run import Ends


def between_nodes(node: Node) -> dict[str, Handler]:
    """Return the handlers by name."""

    def ends(request: Message) -> Ends:
        from ..remotes.config import find
        from ..remotes.run import Ends

        if node.remotes is None:
            raise UserError(f"the node is not ready yet: {node.phase}", "repeat in a moment")
        event = str(request.get("event", ""))
        if event != node.event.digest.hex():
            raise UserError("the node that runs in this home is of another event", "stop it, or choose its event with --event")
        return Ends(node.place, find(node.store, str(request.get("remote", ""))), node.identity, node.line)

    async def fetch(request: Message) -> Mapping[str, Any]:
        from ..remotes import run

        return (await run.fetch(ends(request), _texts(request, "refs"))).fields()

    async def push(request: Message) -> Mapping[str, Any]:
        from ..remotes import run

        return (await run.push(ends(request), _texts(request, "refs"), force=request.get("force") is True)).fields()

    return {"fetch": fetch, "push": push}


def _texts(request: Message, name: str) -> list[str]:
    found = request.get(name)
    return [str(each) for each in found] if isinstance(found, list | tuple) else []
