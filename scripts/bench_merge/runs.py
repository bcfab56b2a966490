"""One seed of one scenario: train the workers from a common base, merge with every method, measure the accuracy."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor

from collab.kernels import Tensors
from collab.kernels.merge import Update
from collab.kernels.merge.auto import auto, candidates

from .learner import Learner
from .scenarios import SCENARIOS

BASE_STEPS = 100
STEPS = 200

Samples = tuple[np.ndarray, np.ndarray]


def run(scenario: str, seed: int) -> dict[str, float]:
    """Held-out accuracies in per cent: `base`, `best single`, each method, and `auto`, which chose on other samples."""
    torch.set_num_threads(1)
    start, shared, gate, test = _shares(seed)
    learner = Learner(seed)
    base = learner.train(learner.weights(), *_tensors(start), BASE_STEPS)
    updates, singles = _workers(scenario, seed, learner, base, shared)
    images, labels = _tensors(test)
    scores = {
        "base": learner.accuracy(base, images, labels),
        "best single": max(learner.accuracy(single, images, labels) for single in singles),
    }
    merged = list(candidates(base, updates))
    scores |= {each.name: learner.accuracy(each.weights, images, labels) for each in merged if each.weights is not None}
    gate_images, gate_labels = _tensors(gate)
    _, choice = auto(merged, lambda weights: learner.accuracy(weights, gate_images, gate_labels))
    return scores | {"auto": scores[choice.winner]}


def _workers(
    scenario: str, seed: int, learner: Learner, base: Tensors, shared: Samples
) -> tuple[list[Update], list[dict[str, Tensor]]]:
    chosen = SCENARIOS[scenario]
    updates, singles = [], []
    for at, indices in enumerate(chosen.split(np.random.default_rng(seed), shared[1])):
        images, labels = _tensors((shared[0][indices], shared[1][indices]))
        weights = learner.train(base, images, labels, STEPS)
        singles.append(weights)
        updates.append(
            Update.of_model(
                base,
                weights,
                weight=len(indices) if chosen.weighted else 1.0,
                fisher=learner.fisher(weights, images),
                grams=learner.grams(weights, images),
                key=bytes([at]),
            )
        )
    return updates, singles


def _shares(seed: int) -> tuple[Samples, Samples, Samples, Samples]:
    """120 samples that the base has learned, some 780 for the workers, 300 to choose by and 599 to measure."""
    images, labels = _digits()
    rest_x, test_x, rest_y, test_y = train_test_split(images, labels, test_size=599, random_state=seed, stratify=labels)
    rest_x, gate_x, rest_y, gate_y = train_test_split(rest_x, rest_y, test_size=300, random_state=seed, stratify=rest_y)
    start_x, work_x, start_y, work_y = train_test_split(rest_x, rest_y, train_size=120, random_state=seed, stratify=rest_y)
    return (start_x, start_y), (work_x, work_y), (gate_x, gate_y), (test_x, test_y)


@cache
def _digits() -> Samples:
    """1797 images of 64 pixels, 0 to 1, and their labels."""
    images, labels = load_digits(return_X_y=True)
    return (images / 16).astype(np.float32), labels


def _tensors(samples: Samples) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(samples[0]), torch.from_numpy(samples[1])
