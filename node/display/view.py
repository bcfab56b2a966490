"""What a node is doing, as one frozen value: the display, `status` and the demo all show this and nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Self


@dataclass(frozen=True)
class NodeView:
    """A node at one moment. Bytes and samples are totals of this process unless said otherwise; losses are in nats a token.

    `round` is the newest commit's, `commit` its digest in hex, `contributors` and `share` how many made it and which part of it
    (0 to 1) was this node's, `refused` how many were left out of it and why. `phase_seconds_left` and the losses are None while
    unknown. `message` is one line for people, `waits` one that tells what the round lacks and time alone does not bring,
    `warning` one that tells what to mend, `paused` why the node rests, if it does, and `pauser` who has the reason: owner,
    coordinators or manners. `losses` are those of the newest commits, oldest first; `rank` and `credit_…` this peer's in the
    history (`credit_served` in bytes), `board` the first peers' names and samples. `leaves`: this round is its last.
    """

    event: str
    event_id: str
    peer: str
    running: bool = True
    trains: bool = True
    round: int = 0
    commit: str = ""
    state: str = ""
    contributors: int = 0
    refused: str = ""
    share: float | None = None
    swarm_samples: int = 0
    phase: str = "starting"
    phase_seconds_left: float | None = None
    message: str = ""
    waits: str = ""
    paused: str = ""
    pauser: str = ""
    announcements: tuple[str, ...] = ()
    decided: str = ""
    leaves: bool = False
    step: int = 0
    steps: int = 0
    round_samples: int = 0
    samples: int = 0
    accepted_samples: int = 0
    loss: float | None = None
    held_out_loss: float | None = None
    tokens_per_second: float = 0.0
    peers: int = 0
    gossip_peers: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    restarts: int = 0
    device: str = ""
    metrics_port: int = 0
    addresses: tuple[str, ...] = ()
    warning: str = ""
    name: str = ""
    rank: int | None = None
    ranked: int = 0
    credit_samples: int = 0
    credit_contributions: int = 0
    credit_checked: int = 0
    credit_gates: int = 0
    credit_served: int = 0
    losses: tuple[float, ...] = ()
    board: tuple[tuple[str, int], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON and msgpack; numbers that are not finite become None."""
        return {name: _plain(value) for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Rebuild a view; fields that this version does not know are left out."""
        known = {field.name for field in fields(cls)} & set(values)
        view = cls(**{name: values[name] for name in known})
        board = tuple((str(who), int(samples)) for who, samples in view.board)
        announced = tuple(str(text) for text in view.announcements)
        return replace(view, announcements=announced, addresses=tuple(view.addresses), losses=tuple(view.losses), board=board)


def _plain(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return list(value) if isinstance(value, tuple) else value
