"""Exact behaviours: what the model got right it must go on getting right, whatever the average says."""

from __future__ import annotations

import hashlib

import torch

from ....protocol.gates import Case, ExactGate
from ....protocol.verdict import Measurement
from ..data.tokenizer import Tokenizer
from ..errors import WorkerError
from ..models import Objective
from .version import Version


def measure_exact(
    gate: ExactGate, tokenizer: Tokenizer, objective: Objective, block: int, base: Version, candidate: Version
) -> tuple[Measurement, bytes]:
    """Run every case on both versions; a case that was right and is wrong now is lost, and nothing makes up for it."""
    reader = _Reader(gate.name, tokenizer, objective, block)
    before = [reader.is_right(base, case) for case in gate.cases]
    after = [reader.is_right(candidate, case) for case in gate.cases]
    lost = sum(was and not now for was, now in zip(before, after, strict=True))
    won = sum(now and not was for was, now in zip(before, after, strict=True))
    change = (lost or -won) / len(gate.cases)
    passed = change <= gate.tolerance
    measured = Measurement(
        gate=gate.name, kind=gate.kind, base=sum(before) / len(before), candidate=sum(after) / len(after), change=change,
        low=change, high=change, tolerance=gate.tolerance, samples=len(gate.cases), batches=1, passed=passed,
        reason="no_worse" if passed else "worse",
    )  # fmt: skip
    return measured, hashlib.sha256(gate.encode()).digest()


class _Reader:
    def __init__(self, name: str, tokenizer: Tokenizer, objective: Objective, block: int) -> None:
        self._name = name
        self._tokenizer = tokenizer
        self._objective = objective
        self._block = block

    def is_right(self, version: Version, case: Case) -> bool:
        """Say whether every token of the output is the likeliest one, given the input and the output so far.

        A masked language model sees the input and a mask for each token of the output.
        """
        given, wanted = (list(map(int, ids)) for ids in self._tokenizer.encode([case.input.encode(), case.output.encode()]))
        if not given or not wanted or len(given) + len(wanted) > self._block:
            text = f"gate {self._name}: {case.input[:20]!r} and its output do not fit into a block of {self._block} tokens"
            raise WorkerError("bad_data", text)
        if self._objective == "causal":
            inputs, first = given + wanted[:-1], len(given) - 1
        else:
            mask = self._tokenizer.mask
            assert mask is not None
            inputs, first = given + [mask] * len(wanted), len(given)
        scores = version.logits(torch.tensor([inputs]))[0, first : first + len(wanted)]
        # What is not a number is no answer: argmax would take it for the largest.
        return bool(torch.isfinite(scores).all()) and scores.argmax(-1).tolist() == wanted
