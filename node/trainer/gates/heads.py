"""Accuracy and F1 of a linear head on the model's features: a small fine-tune, cheap because it starts from the last head.

Half of the labelled texts (by their hash) train the head, the other half is what it is tested on. The head is multinomial
logistic regression on mean-pooled, standardised features, convex, and taken to its optimum by L-BFGS: so where it starts from
decides how long it takes, not what comes out.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from ....protocol.canonical import encode
from ....protocol.gates import HeadGate
from ....protocol.gates_interval import BoundedMean
from ....protocol.gates_sampling import draw
from ....protocol.verdict import Measurement
from ..errors import WorkerError
from .labelled import Labelled, Row
from .sequential import Pair, run_pairs
from .version import BroughtHead, Version

_DECAY = 1e-3
_STEPS = 200
_RESAMPLES = 1000

Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Head:
    """`weight` is (classes, width + 1), float64, its last column the bias; `centre` and `scale` standardise features."""

    weight: Tensor
    centre: Tensor
    scale: Tensor

    def answers(self, features: Tensor) -> Labels:
        """Return the class of each row of features, (samples, width)."""
        found: Labels = (_with_one((features - self.centre) / self.scale) @ self.weight.T).argmax(1).numpy()
        return found


class Heads:
    """The heads of the last versions of one gate, by state hash."""

    def __init__(self, gate: HeadGate, data: Labelled) -> None:
        self._gate = gate
        self._data = data
        self._kept: dict[bytes, Head] = {}

    def measure(self, base: Version, candidate: Version, seed: bytes, whole: bool = False) -> tuple[Measurement, bytes]:
        """Run the gate; return what it showed and the hash of the labelled texts."""
        gate, data = self._gate, self._data
        heads = self._heads(base, candidate)
        tested = [data.tested[at] for at in draw(seed, len(data.tested), gate.batch * gate.max_batches)]
        digest = hashlib.sha256(encode([list(row) for row in (*data.trained, *tested)])).digest()
        parts = [tested[start : start + gate.batch] for start in range(0, len(tested), gate.batch)]
        if gate.kind == "accuracy":
            pairs = self._pairs(parts, (base, candidate), heads)
            seen = BoundedMean(gate.significance)
            measured, _ = run_pairs(gate, seen, pairs, tolerance=gate.tolerance, sign=1.0, whole=whole)
            return _as_accuracy(measured), digest
        truth = self._truth(tested)
        found = [self._answers(version, head, tested) for version, head in zip((base, candidate), heads, strict=True)]
        return _compare_f1(gate, truth, found[0], found[1], seed, len(parts)), digest

    def trained(self, version: Version) -> BroughtHead:
        """Return the head of a version, for its features as they are."""
        head = self._head(version, None)
        weight = head.weight[:, :-1] / head.scale
        bias = head.weight[:, -1] - weight @ head.centre
        return BroughtHead(tuple(self._data.classes), torch.cat([weight, bias[:, None]], dim=1))

    def _heads(self, base: Version, candidate: Version) -> tuple[Head, Head]:
        """Return what is trained on the two versions' features, or what they brought: beside that, one without a head can only
        say the commonest label."""
        brought = base.head or candidate.head
        if brought is None:
            first = self._head(base, None)
            return first, self._head(candidate, first)
        commonest = Counter(label for _, label in self._data.trained).most_common(1)[0][0]
        guess = BroughtHead((commonest,), torch.zeros_like(brought.weight[:1]))
        return self._brought(base.head or guess), self._brought(candidate.head or guess)

    def _brought(self, head: BroughtHead) -> Head:
        """Return it with its rows in the order of the gate's labels; what else it can answer comes after them, and is wrong."""
        rows, ours = dict(zip(head.labels, head.weight, strict=True)), self._data.classes
        if not rows.keys() & set(ours):
            labels = f"{', '.join(ours[:4])}, the head's are {', '.join(head.labels[:4])}"
            raise WorkerError("bad_data", f"gate {self._gate.name} has other labels: they are {labels}")
        never = F.pad(torch.zeros_like(head.weight[0, 1:]), (0, 1), value=-math.inf)
        weight = torch.stack([rows.pop(label, never) for label in ours] + list(rows.values()))
        return Head(weight, torch.zeros(()), torch.ones(()))

    def _head(self, version: Version, start: Head | None) -> Head:
        if version.state not in self._kept:
            texts = [text for text, _ in self._data.trained]
            labels = torch.tensor([self._data.classes.index(label) for _, label in self._data.trained])
            self._kept[version.state] = fit(self._data.features(version, texts), labels, len(self._data.classes), start)
            for forgotten in list(self._kept)[:-4]:
                del self._kept[forgotten]
        return self._kept[version.state]

    def _pairs(
        self, parts: Sequence[Sequence[Row]], versions: Sequence[Version], heads: Sequence[Head]
    ) -> Iterator[Pair]:
        for part in parts:
            truth = self._truth(part)
            base, candidate = (
                (self._answers(version, head, part) != truth).astype(float).tolist()
                for version, head in zip(versions, heads, strict=True)
            )
            yield base, candidate

    def _truth(self, rows: Sequence[Row]) -> Labels:
        return np.array([self._data.classes.index(label) for _, label in rows], dtype=np.int64)

    def _answers(self, version: Version, head: Head, rows: Sequence[Row]) -> Labels:
        return head.answers(self._data.features(version, [text for text, _ in rows]))


def fit(features: Tensor, labels: Tensor, classes: int, start: Head | None = None) -> Head:
    """Return the best head for `features`, (samples, width) in float64, beginning at `start`."""
    centre, scale = features.mean(0), features.std(0, correction=0).clamp_min(1e-6)
    inputs = _with_one((features - centre) / scale)
    weight = torch.zeros(classes, inputs.shape[1], dtype=torch.float64) if start is None else start.weight.clone()
    weight.requires_grad_()
    optimiser = torch.optim.LBFGS([weight], max_iter=_STEPS, tolerance_grad=1e-7, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = F.cross_entropy(inputs @ weight.T, labels) + _DECAY * weight.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    with torch.enable_grad():
        optimiser.step(loss)  # type: ignore[no-untyped-call]
    return Head(weight.detach(), centre, scale)


def macro_f1(truth: Labels, answers: Labels) -> float:
    """Return F1 averaged over the classes that are there, each counting the same."""
    scores = []
    for label in np.unique(np.concatenate([truth, answers])):
        right = int(((truth == label) & (answers == label)).sum())
        scores.append(2 * right / int((truth == label).sum() + (answers == label).sum()))
    return float(np.mean(scores)) if scores else 0.0


def _compare_f1(gate: HeadGate, truth: Labels, before: Labels, after: Labels, seed: bytes, batches: int) -> Measurement:
    """Compare by a paired bootstrap over all samples (Efron & Tibshirani 1993): F1 is no mean, so nothing stops early."""
    if not len(truth):
        raise WorkerError("no_data", f"gate {gate.name}: its data has not one sample to test on")
    drawn = np.random.RandomState(int.from_bytes(hashlib.sha256(seed).digest()[:4], "big"))
    changes = []
    for _ in range(_RESAMPLES):
        at = drawn.randint(0, len(truth), len(truth))
        changes.append(macro_f1(truth[at], before[at]) - macro_f1(truth[at], after[at]))
    low, high = (float(np.quantile(changes, share)) for share in (gate.significance, 1 - gate.significance))
    base, candidate = macro_f1(truth, before), macro_f1(truth, after)
    change = base - candidate
    clear = low > gate.tolerance or high <= gate.tolerance
    passed = high <= gate.tolerance if clear else change <= gate.tolerance
    return Measurement(
        gate=gate.name, kind=gate.kind, base=base, candidate=candidate, change=change, low=low, high=high,
        tolerance=gate.tolerance, samples=len(truth), batches=batches, passed=passed,
        reason="unclear" if not clear else "no_worse" if passed else "worse",
    )  # fmt: skip


def _as_accuracy(errors: Measurement) -> Measurement:
    """Turn shares of wrong answers into shares of right ones; how much worse they are stays what it is."""
    assert errors.base is not None
    assert errors.candidate is not None
    return errors.model_copy(update={"base": 1 - errors.base, "candidate": 1 - errors.candidate})


def _with_one(features: Tensor) -> Tensor:
    return F.pad(features, (0, 1), value=1.0)
