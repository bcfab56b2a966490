"""Gates: the tests that a candidate must pass, as an event (or a person's own file) writes them down.

A gate compares a candidate with the version that it is to follow, on the same samples, and passes unless the candidate is worse
by more than `tolerance`. A gate of an event names data and built-in measures, never code to run; `command` gates do, and are read
from a person's own file alone (`OwnGate`).
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from .canonical import decode
from .errors import RemoteProtocolError
from .record import Record, later

MAX_GATES = 32
GateName = Annotated[str, Field(max_length=48, pattern=r"^[a-z0-9][a-z0-9_.-]*$")]
Direction = Literal["lower", "higher"]
_Path = Annotated[str, Field(max_length=1024)]
_Argument = Annotated[str, Field(max_length=1024)]
_Tolerance = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
_Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]

REFUSED_BY = "gate."
"""What a refusal for a gate begins with; the gate's name follows."""


class _Gate(Record):
    """What every gate has. `rounds`: the committee runs it on every candidate; otherwise it is for proposals and releases.

    `verdicts`: so many different peers must have signed what it showed before a version is released.
    """

    name: GateName
    rounds: bool = True
    verdicts: Annotated[int, Field(ge=1, le=64)] = later(1)


class _Sampled(_Gate):
    """A gate on samples: batches are drawn until the answer is clear at this `significance`, at most `max_batches`."""

    significance: Annotated[float, Field(gt=0, lt=0.5, allow_inf_nan=False)] = 0.05
    batch: Annotated[int, Field(ge=1, le=4096)] = 16
    max_batches: Annotated[int, Field(ge=1, le=65536)] = 32


class LossGate(_Sampled):
    """The loss on held-out text, in nats a token, or its perplexity, whose `tolerance` is relative (0.01: one percent).

    `path` is a text, JSONL or Parquet file in the volunteer's data folder, by default the event's own held-out part; of its
    blocks the gate sees those of `shard`: number, and of how many.
    """

    kind: Literal["loss", "perplexity"]
    path: _Path = ""
    field: _Path = "text"
    shard: tuple[Annotated[int, Field(ge=0, lt=4096)], Annotated[int, Field(ge=1, le=4096)]] = (0, 1)
    direction: Direction = "lower"
    tolerance: _Tolerance = 0.01

    @model_validator(mode="after")
    def _shard_is_one_of_them(self) -> LossGate:
        if self.shard[0] >= self.shard[1]:
            raise ValueError("shard must be a number from 0 and, above it, how many there are")
        return self


class Case(Record):
    """What the model is to write after `input`: exactly `output`, token by token."""

    input: Annotated[str, Field(min_length=1, max_length=2048)]
    output: Annotated[str, Field(min_length=1, max_length=512)]


class ExactGate(_Gate):
    """Behaviours: of the cases that the version before gets right, the candidate may lose a share of `tolerance` of all."""

    kind: Literal["exact"]
    cases: Annotated[tuple[Case, ...], Field(min_length=1, max_length=256)]
    tolerance: _Share = 0.0


class HeadGate(_Sampled):
    """Accuracy or macro-averaged F1 of a linear head on the model's features, on labelled text in the data folder (JSONL).

    `tolerance` is a share: 0.02 lets two of a hundred answers more be wrong.
    """

    kind: Literal["accuracy", "f1"]
    path: Annotated[str, Field(min_length=1, max_length=1024)]
    field: _Path = "text"
    label: _Path = "label"
    tolerance: _Share = 0.02


class CommandGate(_Gate):
    """A program of the person who runs the gate: the last line that it prints is the measure.

    In `command`, {weights} stands for a safetensors file; it runs once for each version, without a shell.
    """

    kind: Literal["command"]
    command: Annotated[tuple[_Argument, ...], Field(min_length=1, max_length=64)]
    direction: Direction
    tolerance: _Tolerance = 0.0
    seconds: Annotated[float, Field(gt=0, le=86400, allow_inf_nan=False)] = 600.0


EventGate: TypeAlias = LossGate | ExactGate | HeadGate
OwnGate: TypeAlias = EventGate | CommandGate
Gates = Annotated[tuple[Annotated[EventGate, Field(discriminator="kind")], ...], Field(max_length=MAX_GATES)]
KINDS: dict[str, type[Record]] = {
    "loss": LossGate, "perplexity": LossGate, "exact": ExactGate, "accuracy": HeadGate, "f1": HeadGate,
}  # fmt: skip
"""The kinds of gates that an event may name."""


class GateFile(Record):
    """A file of one's own gates; the only place for `command` gates."""

    gate: Annotated[tuple[Annotated[OwnGate, Field(discriminator="kind")], ...], Field(max_length=MAX_GATES)]

    @model_validator(mode="after")
    def _names_differ(self) -> GateFile:
        check_names(self.gate)
        return self


_ONE_GATE: TypeAdapter[EventGate] = TypeAdapter(Annotated[EventGate, Field(discriminator="kind")])


def decode_gate(data: bytes) -> EventGate:
    """Return the gate that canonical bytes hold. Raises RemoteProtocolError."""
    try:
        return _ONE_GATE.validate_python(decode(data))
    except ValidationError as error:
        raise RemoteProtocolError("malformed", "not a gate that an event may name") from error


def check_names(gates: tuple[OwnGate, ...]) -> None:
    """Raise ValueError if two gates have one name."""
    names: set[str] = set()
    for at, gate in enumerate(gates):
        if gate.name in names:
            raise ValueError(f"gate.{at}.name is the name of another gate: {gate.name!r}")
        names.add(gate.name)


def relaxed(gate: EventGate, patience: int) -> EventGate:
    """Return a gate whose tolerance was doubled so many times; 0 leaves it as it is.

    A tolerance of 0 grows from one case (`exact`) or a thousandth.
    """
    least = 1 / len(gate.cases) if isinstance(gate, ExactGate) else 1e-3
    most = 1e6 if isinstance(gate, LossGate) else 1.0
    slack = (2.0 ** min(patience, 64) - 1) * max(gate.tolerance, least)
    return gate.model_copy(update={"tolerance": min(most, gate.tolerance + slack)}) if patience else gate


def refusal_of(gate: str) -> str:
    """Return the reason that a commit gives for a contribution that this gate refused."""
    return REFUSED_BY + gate


def gate_of(reason: str) -> str | None:
    """Return the name of the gate that a refusal is for; None for another refusal."""
    return reason.removeprefix(REFUSED_BY) if reason.startswith(REFUSED_BY) else None
