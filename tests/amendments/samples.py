"""Amendments by the test identities: identity 0 is the coordinator of the test event."""

from __future__ import annotations

from collections.abc import Sequence

from rounds.worlds import event, identity

from collab.protocol.amendments import Amendment, Body, InForce, SignedAmendment
from collab.protocol.event import EventManifest

EVENT = event()


def amendment(state: InForce, body: Body, *signers: int, time: int = 7) -> SignedAmendment:
    """The next amendment after a state, signed by these identities (by default: identity 0)."""
    content = Amendment(
        event=state.created.digest, number=state.number + 1, previous=state.digest, time=time, body=body
    )
    signed = SignedAmendment.draft(content)
    for signer in signers or (0,):
        signed = signed.signed_by(identity(signer))
    return signed


def chain(*bodies: Body, manifest: EventManifest = EVENT) -> list[SignedAmendment]:
    """A chain of amendments, each signed by as many of the coordinators in force as are needed."""
    keys = {identity(number).peer_id: number for number in range(10)}
    state, made = InForce.at_first(manifest), list[SignedAmendment]()
    for body in bodies:
        signers: Sequence[int] = [keys[peer] for peer in state.coordinators[: state.threshold]]
        made.append(amendment(state, body, *signers))
        state = state.after(made[-1])
    return made
