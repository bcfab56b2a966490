"""Measuring versions, and modules made of what they read."""

from __future__ import annotations

from typing import Literal

from .base import Message, Request


class Evaluate(Request):
    """Compute the held-out loss of the base, the local weights, or the candidate `key`. → Evaluated

    `samples` 0: as many as the event says. The set and its order are always the same. Errors: no_base, no_data,
    unknown_candidate.
    """

    OP = "evaluate"
    of: Literal["base", "local", "candidate"] = "base"
    key: str = ""
    samples: int = 0


class Evaluated(Message):
    """Mean loss in nats a token, over so many tokens."""

    loss: float
    tokens: int
    samples: int


class ModuleRef(Message):
    """A module that is put into a version: the folder of its package, and of what kind it is."""

    kind: Literal["adapter", "expert", "head", "datastore"]
    folder: str


class VersionRef(Message):
    """Weights to be compared: the base, the candidate `key`, or a safetensors file of the weights alone at `path`.

    With `module`, they are read with that in them.
    """

    of: Literal["base", "candidate", "file"] = "base"
    key: str = ""
    path: str = ""
    module: ModuleRef | None = None


class RunGate(Request):
    """Compare a candidate with the version before it by one gate, batch by batch until the answer is clear. → GateRun

    `gate` is its canonical bytes; `seed` decides, with the gate, which samples are looked at; `whole`: at all of them, however
    clear the answer is before. Errors: no_base, no_data, bad_data, missing_extra, bad_base, bad_tensors, unknown_candidate, unfit
    (a module is not for these weights).
    """

    OP = "gate"
    gate: bytes
    candidate: VersionRef
    base: VersionRef = VersionRef()
    seed: bytes = b""
    whole: bool = False


class GateRun(Message):
    """A protocol.verdict.Measurement in canonical bytes, the hash of the data, and what it ran on."""

    measurement: bytes
    data: bytes
    hardware: str


class MakeModule(Request):
    """Make a module of what a version reads in the data of a gate, and write it to `folder`. → MadeModule

    A gate on labels makes a head, trained on the half of its texts that gates train on. One on a loss makes a datastore of the
    blocks of its shard, with `entries` at most; `settings` is its configuration. Errors: as of `gate`, and non_finite.
    """

    OP = "make_module"
    gate: bytes
    version: VersionRef
    folder: str
    entries: int = 0
    settings: str = ""


class MadeModule(Message):
    """How many labels the head has, or entries the datastore."""

    size: int
