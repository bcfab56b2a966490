"""What the owner of a running node can ask of it over the control socket, besides reading it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...protocol.amendments import SignedAmendment
from ..amendments.making import problems
from ..doctor.probing import probe
from ..errors import UserError
from ..hosting.pausing import OWNER_REASON
from ..processes.frames import Message
from .socket import Handler

if TYPE_CHECKING:
    from ..node import Node

_MAX_REASON = 120


def care(node: Node) -> dict[str, Handler]:
    """Return the handlers by name."""

    async def pause(request: Message) -> Mapping[str, Any]:
        before = node.pausing.reasons.get("owner", OWNER_REASON)
        await node.pausing.pause("owner", _line(request.get("reason")) or before)
        return {"reason": node.pausing.reason}

    async def resume(request: Message) -> Mapping[str, Any]:
        was_paused = "owner" in node.pausing.reasons
        return {"reason": node.pausing.resume("owner"), "was_paused": was_paused}

    async def leave(request: Message) -> Mapping[str, Any]:
        return {"seconds": await node.loop.leave(), "round": node.history.head.round + 1 if node.driver is not None else 0}

    async def restart(request: Message) -> Mapping[str, Any]:
        node.restarts = True
        node.stop.set()
        return {}

    async def limits(request: Message) -> Mapping[str, Any]:
        return node.keeper.state()

    async def set_limit(request: Message) -> Mapping[str, Any]:
        await node.keeper.change(str(request.get("key", "")), str(request.get("value", "")))
        return node.keeper.state()

    async def examine(request: Message) -> Mapping[str, Any]:
        return await probe(node)

    async def amend(request: Message) -> Mapping[str, Any]:
        if node.driver is None:
            raise UserError(f"the node is not ready yet: {node.phase}", "try again in a moment")
        with problems():
            signed = SignedAmendment.read(bytes(request.get("amendment", b"")))
            node.learning.take(signed)
        await node.effects.publish(signed)
        return {"number": signed.content.number}

    return {
        "amend": amend, "probe": examine, "limits": limits, "set": set_limit,
        "pause": pause, "resume": resume, "leave": leave, "restart": restart,
    }  # fmt: skip


def _line(text: object) -> str:
    """Return what a person wrote as one printable line."""
    words = text.split() if isinstance(text, str) else []
    return "".join(letter for letter in " ".join(words) if letter.isprintable())[:_MAX_REASON]
