"""What a node hears of others by gossip, and for which of its parts that is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..protocol.errors import RemoteProtocolError
from ..protocol.messages import AmendmentNotice, Signed, VerdictNotice
from .net.gossip import GossipMessage
from .rounds.driver import RoundDriver
from .rounds.neighbourhood import Envelopes

if TYPE_CHECKING:
    from .node import Node

_HEARD = 2048


class Hearing:
    """Hands every message on; those of rounds that come before there are any wait."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._heard = Envelopes(_HEARD)

    def hear(self, message: GossipMessage) -> None:
        """Take in a message, whose signature was checked before it was forwarded to us."""
        node = self._node
        try:
            signed = Signed.decode(message.data)
        except RemoteProtocolError as error:
            node.metrics.refused(error.reason)
            return
        if signed.signer != node.identity.peer_id:
            node.company.heard()
        if signed.kind == AmendmentNotice.KIND and node.effects.ready:
            node.network.traffic.messages[f"received_{signed.kind}"] += 1
            self._on_amendment(signed)
            return
        if signed.kind == VerdictNotice.KIND:
            node.network.traffic.messages[f"received_{signed.kind}"] += 1
            self._on_verdict_notice(signed)
            return
        if node.phase == "paused":
            return  # what matters is said again, and nobody would take it out of the inbox
        node.network.traffic.messages[f"received_{signed.kind}"] += 1
        if node.driver is not None:
            node.driver.deliver(signed)
        else:
            self._heard.append(signed)

    def hand_over(self, driver: RoundDriver) -> None:
        """Give what waited to the rounds: gossip brings nothing twice."""
        while self._heard:
            driver.deliver(self._heard.popleft())

    def _on_amendment(self, signed: Signed) -> None:
        node = self._node
        try:
            node.learning.hear(signed)
        except RemoteProtocolError as error:
            node.metrics.refused(error.reason)
            if error.reason == "unknown_previous":
                node.effects.ask_soon()  # one before it was missed
            else:
                node.peers.fault(signed.signer, error.reason)

    def _on_verdict_notice(self, signed: Signed) -> None:
        node = self._node
        if not node.effects.ready:
            return  # what waits is asked for later
        try:
            refused = node.sharing.hear(signed)
        except RemoteProtocolError as error:
            refused = [error.reason]
        for reason in refused:
            node.metrics.refused(reason)
            node.peers.fault(signed.signer, reason)
