"""Payloads: making them, settling them, inspecting those of others."""

from __future__ import annotations

from .base import Message, Request


class Compress(Request):
    """Stop training and make a payload of what was trained since the last one. → Compressed

    `full`: dense fp16, for a full merge; the residual goes with it. The payload is outstanding until it is settled. Errors:
    nothing_trained, non_finite (the local weights were thrown away and restart from the base), no_space.
    """

    OP = "compress"
    full: bool = False


class Compressed(Message):
    """A payload at `path`, and the claim that goes with it. `loss` is the mean training loss in nats a token."""

    path: str
    sha256: bytes
    size: int
    samples: int
    steps: int
    loss: float
    norm: float
    fisher_path: str | None = None
    fisher_sha256: bytes | None = None
    fisher_size: int = 0


class Settle(Request):
    """Say what became of an outstanding payload. Refused: what it held goes back into the residual. → Done

    `path` is where its bytes are; empty: where `Compress` wrote them. Errors: unknown_payload (not outstanding, or `path` holds
    other bytes), file.
    """

    OP = "settle"
    sha256: bytes
    accepted: bool
    path: str = ""


class Inspect(Request):
    """Check a contribution's payload before it is proposed. → Inspected"""

    OP = "inspect"
    path: str
    fisher_path: str | None = None
    full: bool = False


class Inspected(Message):
    """`reason` is empty when `ok`, else payload_size, payload_malformed, payload_codec, payload_empty or fisher_….

    `clip` is the factor that brings a patch of this `norm` to the event's largest.
    """

    ok: bool
    reason: str = ""
    norm: float = 0.0
    clip: float = 1.0
