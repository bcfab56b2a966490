"""Two fine-tunes of the demo's model on unlike texts, merged by each method: the held-out loss on both texts.

Prose are the topics of the language's reference, tables the character encodings: of the standard library, and with little in
common.
"""

from __future__ import annotations

import encodings
import pydoc_data
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from collab.kernels import Tensors
from collab.kernels.merge import MODEL_METHODS, Update, merge_models, model_method
from collab.node.event.file import embedded_event
from collab.node.trainer.data import Batch
from collab.node.trainer.evaluate import mean_loss
from collab.node.trainer.measuring import statistics
from collab.node.trainer.models import LanguageModel, build
from collab.protocol.event import EventManifest, Start
from collab.protocol.identity import Identity

BLOCK, BATCH, RATE = 128, 8, 1e-3
BASE_STEPS, STEPS = 150, 60
HELD_OUT, MEASURED = 48, 64
TRIED: tuple[tuple[str, Mapping[str, float]], ...] = (
    *((name, {}) for name in MODEL_METHODS),
    ("fisher", {"cap": 0.8}),
    ("regmean", {"cap": 0.8}),
    ("ties", {"density": 0.5}),
)
"""Every method with its defaults, and some with others. A cap of 0.5 would make two equal parties an average."""

Losses = dict[str, tuple[float, float]]


class Text:
    """Bytes to learn from, the last tenth of them held out."""

    def __init__(self, files: list[Path]) -> None:
        self._bytes = np.frombuffer(b"".join(file.read_bytes() for file in files), dtype=np.uint8).astype(np.int64)
        self._learned = len(self._bytes) * 9 // 10

    def draw(self, draws: np.random.Generator, count: int) -> Batch:
        """Blocks from anywhere in what may be learned."""
        return self._batch(draws.integers(0, self._learned - BLOCK - 1, count))

    def held_out(self) -> Batch:
        """The same blocks every time, spread evenly."""
        return self._batch(np.linspace(self._learned, len(self._bytes) - BLOCK - 1, HELD_OUT).astype(np.int64))

    def _batch(self, starts: np.ndarray) -> Batch:
        rows = self._bytes[starts[:, None] + np.arange(BLOCK + 1)]
        return Batch.of(rows[:, :-1].copy(), rows[:, 1:].copy())


def texts() -> tuple[Text, Text]:
    """Prose, and tables."""
    prose = sorted(Path(pydoc_data.__path__[0]).glob("topics.py"))
    return Text(prose), Text(sorted(Path(encodings.__path__[0]).glob("cp*.py")))


def run_language(seed: int, base_steps: int = BASE_STEPS, steps: int = STEPS) -> Losses:
    """Return the losses on prose and on tables, in nats a byte: of the base, of either fine-tune, and of each merge."""
    torch.set_num_threads(1)
    model, draws = _model(seed), np.random.default_rng(seed)
    both = texts()
    base = _trained(model, None, both, draws, base_steps)
    tuned = [_trained(model, base, (text,), draws, steps) for text in both]
    updates = [_update(model, base, weights, text.draw(draws, MEASURED)) for weights, text in zip(tuned, both, strict=True)]
    found = {"base": base, "tuned on prose": tuned[0], "tuned on tables": tuned[1]}
    losses = {name: _losses(model, weights, both) for name, weights in found.items()}
    for method, parameters in TRIED:
        name = method + "".join(f" {key}={value:g}" for key, value in parameters.items())
        losses[name] = _losses(model, merge_models(model_method(method, **parameters), base, updates), both)
    return losses


def _model(seed: int) -> LanguageModel:
    someone = Identity(bytes(32)).peer_id
    event: EventManifest = embedded_event().manifest(someone, 0, Start(state=bytes(32), seed=seed))
    model = build(event)
    model.initialise(seed)
    return model


def _trained(
    model: LanguageModel, start: Tensors | None, read: tuple[Text, ...], draws: np.random.Generator, steps: int
) -> dict[str, Tensor]:
    """Take Adam's steps on the texts in turn, from `start` or the model's own weights."""
    if start is not None:
        with torch.no_grad():
            for name, parameter in model.weights().items():
                parameter.copy_(start[name])
    optimiser = torch.optim.Adam(model.parameters(), RATE)
    model.train()
    for step in range(steps):
        batch = read[step % len(read)].draw(draws, BATCH)
        optimiser.zero_grad()
        torch.autograd.backward(model(batch.inputs, batch.targets))
        optimiser.step()
    return {name: parameter.detach().clone() for name, parameter in model.weights().items()}


def _update(model: LanguageModel, base: Tensors, weights: dict[str, Tensor], measured: Batch) -> Update:
    fisher, grams = statistics(model, weights, measured)
    return Update.of_model(base, weights, fisher=fisher, grams=grams, key=bytes([len(measured)]))


def _losses(model: LanguageModel, weights: Tensors, both: tuple[Text, Text]) -> tuple[float, float]:
    prose, tables = (mean_loss(model, text.held_out().split(BATCH), weights)[0] for text in both)
    return prose, tables
