"""Verdicts: what a gate showed, and a peer's signature under it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from .errors import RemoteProtocolError
from .gates import GateName, OwnGate
from .identity import Identity, PeerId
from .messages import Message, Signed
from .record import Count, Digest, Finite, Record

Reason = Literal["no_worse", "worse", "unclear", "not_finite"]


class Measurement(Record):
    """One gate on one candidate against one version before it.

    `base` and `candidate` are the gate's measure on the samples that were looked at; `change` is how much worse the candidate is
    in the gate's unit (negative: better), which is between `low` and `high` at the gate's significance (None: not bounded). A
    candidate whose measure is not finite has none of them, and fails. `reason` "unclear": the samples ended first, and the
    change as it stood decided.
    """

    gate: GateName
    kind: Literal["loss", "perplexity", "exact", "accuracy", "f1", "command"]
    base: Finite | None
    candidate: Finite | None
    change: Finite | None
    low: Finite | None
    high: Finite | None
    tolerance: Finite
    samples: Count
    batches: Count
    passed: bool
    reason: Reason

    @model_validator(mode="after")
    def _is_of_one_mind(self) -> Measurement:
        expected = {"no_worse": True, "worse": False, "not_finite": False}.get(self.reason, self.passed)
        if self.passed != expected:
            raise ValueError(f"reason {self.reason!r} contradicts passed {self.passed}")
        if (self.change is None) != (self.reason == "not_finite"):
            raise ValueError("only what is not finite has no change")
        return self

    @property
    def clearly_better(self) -> bool:
        """Whether the candidate is better by more than the tolerance, at the gate's significance."""
        return self.passed and self.high is not None and self.high < -self.tolerance

    def sentence(self) -> str:
        """Return the result for people."""
        if self.change is None:
            return f"{self.gate} failed: the candidate's {self.kind} is not a number"
        verdict = "passed" if self.passed else "failed"
        how = "better" if self.change < 0 else "worse"
        doubt = ", not clear" if self.reason == "unclear" else ""
        return f"{self.gate} {verdict}: {self.kind} {abs(self.change):.4g} {how} where {self.tolerance:g} worse is allowed{doubt}"


def first_failure(measurements: Sequence[Measurement]) -> Measurement | None:
    """Return the first measurement that failed."""
    return next((measurement for measurement in measurements if not measurement.passed), None)


def unmet_gate(gates: Sequence[OwnGate], measurements: Sequence[Measurement]) -> str | None:
    """Return the name of a gate that failed, or of one of `gates` that nobody ran; None if there is none."""
    failed = first_failure(measurements)
    if failed is not None:
        return failed.gate
    passed = {measurement.gate for measurement in measurements}
    return next((gate.name for gate in gates if gate.name not in passed), None)


class Verdict(Message):
    """A peer's word for what a gate showed: the state `candidate` against the state `against` (state hashes), on these data.

    `data` is the hash of the samples that the gate may look at (None for a command), `hardware` where it ran; both are for
    whoever compares two verdicts that differ.
    """

    KIND: ClassVar[str] = "verdict"
    candidate: Digest
    against: Digest
    data: Digest | None
    hardware: Annotated[str, Field(max_length=128)]
    measurement: Measurement


def sign_verdict(identity: Identity, verdict: Verdict) -> Signed:
    """Return the signed envelope."""
    return Signed.seal(identity, verdict)


def open_verdict(signed: Signed) -> Verdict:
    """Return the verdict in an envelope.

    Verdicts are stored in the history, and gossiped inside a `VerdictNotice`, so `Signed.open` knows no such message. Raises
    RemoteProtocolError: "unexpected_kind", "bad_signature" or "malformed".
    """
    if signed.kind != Verdict.KIND:
        raise RemoteProtocolError("unexpected_kind", f"{signed.kind} where {Verdict.KIND} belongs")
    signed.check_signature()
    return Verdict.decode(signed.body)


@lru_cache(maxsize=4096)
def read_verdict(envelope: bytes) -> tuple[Signed, Verdict]:
    """Decode an envelope and open the verdict in it. Raises RemoteProtocolError."""
    signed = Signed.decode(envelope)
    return signed, open_verdict(signed)


def open_about(signed: Signed, event: bytes, state: bytes, against: bytes | None = None) -> tuple[PeerId, Verdict]:
    """Return a verdict and who signed it.

    Raises RemoteProtocolError: as `open_verdict`, or "wrong_event" or "wrong_state" if it is about another one.
    """
    verdict = open_verdict(signed)
    if verdict.event != event:
        raise RemoteProtocolError("wrong_event", f"a verdict of event {verdict.event.hex()[:16]}")
    if verdict.candidate != state or (against is not None and verdict.against != against):
        raise RemoteProtocolError("wrong_state", "a verdict about other versions")
    return signed.signer, verdict


def contradictions(verdicts: Iterable[tuple[PeerId, Verdict]]) -> list[str]:
    """Return who says what of each gate that clearly passed for one peer, and clearly failed for another."""
    said: dict[tuple[str, bytes, bytes], dict[str, set[PeerId]]] = {}
    for peer, verdict in verdicts:
        measured = verdict.measurement
        if measured.reason != "unclear":
            sides = said.setdefault((measured.gate, verdict.candidate, verdict.against), {})
            sides.setdefault("passed" if measured.passed else "failed", set()).add(peer)
    return [
        f"{gate} passed says {', '.join(sorted(sides['passed']))}, failed says {', '.join(sorted(sides['failed']))}"
        for (gate, _, _), sides in sorted(said.items()) if len(sides) == 2
    ]  # fmt: skip


def too_few(gates: Iterable[OwnGate], said: Iterable[tuple[PeerId, str]], least: int = 1) -> str | None:
    """Return, in words, a gate with verdicts of fewer peers than it or `least` asks for; None if there is none.

    `said`: who signed a verdict on which gate.
    """
    peers: dict[str, set[PeerId]] = {}
    for peer, gate in said:
        peers.setdefault(gate, set()).add(peer)
    for wanted in gates:
        have, needed = len(peers.get(wanted.name, ())), max(wanted.verdicts, least)
        if have < needed:
            return f"gate {wanted.name} has verdicts of {have} peer{'' if have == 1 else 's'}, and {needed} are needed"
    return None
