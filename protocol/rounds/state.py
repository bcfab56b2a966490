"""What a node must remember of a round to come back after kill -9 and never say two different things."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ..messages import Envelope, Proof, View
from ..record import Digest, Record


class VotingState(Record):
    """The durable part of one base's round.

    `said` holds our own signed proposal and attestations of the turn (`epoch`, `view`); `contribution` is our own contribution
    on this base; `exhausted` says that we asked for a new committee in `epoch` and vote no more in it.
    """

    event: Digest
    base: Digest
    epoch: View
    view: View
    started: bool
    exhausted: bool
    said: Annotated[tuple[Envelope, ...], Field(max_length=3)]
    locked: Proof | None
    valid: Proof | None
    contribution: Envelope | None
