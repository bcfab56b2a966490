from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from collab.node.trainer.adamw import AdamW
from collab.node.trainer.data import Batch
from collab.node.trainer.device import choose_device, use_bf16
from collab.node.trainer.errors import WorkerError
from collab.node.trainer.models import IGNORED, build
from collab.node.trainer.training import InnerLoop
from collab.protocol.event import EventManifest

Forward = Callable[[Tensor, Tensor], Tensor]
Spoil = Callable[[Forward, Tensor, Tensor], Tensor]


def loop_on(
    event: EventManifest, micro_batch: int = 8, fisher: bool = False, spoil: Spoil | None = None
) -> InnerLoop:
    model = build(event)
    model.initialise(3)
    if spoil is not None:
        forward = model.forward
        model.forward = lambda inputs, targets: spoil(forward, inputs, targets)  # type: ignore[method-assign]
    optimiser = AdamW(model.weights(), (0.9, 0.95), 0.1)
    return InnerLoop(model, optimiser, clip=1.0, micro_batch=micro_batch, bf16=False, fisher=fisher)


def batch_of(size: int = 8) -> Batch:
    draw = torch.Generator().manual_seed(1)
    tokens = torch.randint(0, 256, (size, 17), generator=draw).numpy()
    targets = tokens[:, 1:].copy()
    targets[0, :5] = IGNORED
    return Batch.of(tokens[:, :-1].copy(), targets)


def weights_of(loop: InnerLoop) -> dict[str, Tensor]:
    return {name: weight.detach().clone() for name, weight in loop.model.weights().items()}


@pytest.mark.parametrize("micro_batch", [1, 3, 4])
def test_accumulation_takes_the_step_of_the_whole_batch(make_event: Any, micro_batch: int) -> None:
    whole, parts = loop_on(make_event()), loop_on(make_event(), micro_batch)
    losses = whole.step(batch_of(), 1e-3), parts.step(batch_of(), 1e-3)
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    # Adam's first step divides a gradient by itself, so rounding of a tiny one shows.
    torch.testing.assert_close(weights_of(whole), weights_of(parts), rtol=1e-3, atol=2e-5)


def test_a_gpu_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == choose_device("cpu") == torch.device("cpu")
    assert not use_bf16(torch.device("cpu"), wanted=True)
    with pytest.raises(WorkerError, match="torch sees no CUDA GPU here") as caught:
        choose_device("cuda")
    assert caught.value.code == "bad_device"


def test_training_learns(make_event: Any) -> None:
    loop = loop_on(make_event())
    losses = [loop.step(batch_of(), 1e-2) or float("nan") for _ in range(30)]
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_when_memory_runs_out_the_micro_batch_is_halved(make_event: Any, error: Exception) -> None:
    def spoil(forward: Forward, inputs: Tensor, targets: Tensor) -> Tensor:
        if len(inputs) > 2:
            raise error
        return forward(inputs, targets)

    loop, whole = loop_on(make_event(), spoil=spoil), loop_on(make_event())
    assert loop.step(batch_of(), 1e-3) == pytest.approx(whole.step(batch_of(), 1e-3), rel=1e-5)
    assert loop.micro_batch == 2


def test_when_one_sample_is_too_much_it_says_so(make_event: Any) -> None:
    def spoil(forward: Forward, inputs: Tensor, targets: Tensor) -> Tensor:
        raise MemoryError

    with pytest.raises(WorkerError, match="smaller micro batch") as caught:
        loop_on(make_event(), spoil=spoil).step(batch_of(), 1e-3)
    assert caught.value.code == "out_of_memory"


def test_another_failure_is_not_taken_for_memory(make_event: Any) -> None:
    def spoil(forward: Forward, inputs: Tensor, targets: Tensor) -> Tensor:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        loop_on(make_event(), spoil=spoil).step(batch_of(), 1e-3)


def test_a_gradient_that_is_not_finite_changes_nothing(make_event: Any) -> None:
    def spoil(forward: Forward, inputs: Tensor, targets: Tensor) -> Tensor:
        return forward(inputs, targets) * float("inf")

    loop = loop_on(make_event(), fisher=True, spoil=spoil)
    before = weights_of(loop)
    assert loop.step(batch_of(), 1e-3) is None
    assert all(torch.equal(before[name], weight) for name, weight in weights_of(loop).items())
    assert loop.fisher is not None
    assert loop.fisher.count == 0


@pytest.mark.parametrize("micro_batch", [8, 2])
def test_the_fisher_is_estimated_from_unclipped_gradients(make_event: Any, micro_batch: int) -> None:
    loop = loop_on(make_event(), micro_batch, fisher=True)
    batch = batch_of()
    part = list(batch.split(micro_batch))[-1]
    weights = loop.model.weights()
    gradients = torch.autograd.grad(loop.model(part.inputs, part.targets), list(weights.values()))
    loop.step(batch, 1e-3)
    assert loop.fisher is not None
    expected = {name: g.square() for name, g in zip(weights, gradients, strict=True)}
    torch.testing.assert_close(loop.fisher.tensors(), expected)
