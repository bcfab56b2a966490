"""What the sidecar lets pass before the daemon sees it: amendments that a coordinator has signed, and no others."""

from __future__ import annotations

import pytest
from amendments.samples import EVENT, amendment
from rounds.worlds import identity

from collab.node.sidecar.gate import Gate, Parcel
from collab.node.sidecar.limits import GossipLimits
from collab.protocol.amendments import InForce, Pause, SignedAmendment
from collab.protocol.errors import RemoteProtocolError
from collab.protocol.messages import AmendmentNotice, Signed

FIRST = InForce.at_first(EVENT)
GOOD = amendment(FIRST, Pause())


def parcel(data: bytes) -> Parcel:
    signed = Signed.seal(identity(5), AmendmentNotice(event=EVENT.digest, amendment=data))
    return Parcel(identity(5).peer_id, ("t",), signed.encode(), bytes(8), lambda: True)


def gate() -> Gate:
    made = Gate(["t"], GossipLimits())
    made.coordinators = frozenset({identity(0).peer_id})
    return made


def test_what_a_coordinator_signed_goes_on_whoever_brings_it() -> None:
    gate().check("forwarder", parcel(GOOD.encode()), 0.0)


def test_nobody_is_a_coordinator_before_the_daemon_says_who() -> None:
    with pytest.raises(RemoteProtocolError, match="not_a_coordinator"):
        Gate(["t"], GossipLimits()).check("forwarder", parcel(GOOD.encode()), 0.0)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (amendment(FIRST, Pause(), 3).encode(), "not_a_coordinator"),
        (SignedAmendment(amendment=GOOD.amendment).encode(), "not_a_coordinator"),
        (SignedAmendment(amendment=amendment(FIRST, Pause(reason="x")).amendment, signatures=GOOD.signatures).encode(),
         "bad_signature"),
        (b"\xc1", "malformed"),
        (SignedAmendment(amendment=b"\xc1", signatures=GOOD.signatures).encode(), "malformed"),
    ],
)  # fmt: skip
def test_what_no_coordinator_signed_is_neither_delivered_nor_forwarded(data: bytes, reason: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        gate().check("forwarder", parcel(data), 0.0)
    assert caught.value.reason == reason
