"""The inner loop: one optimiser step at a time, on as much of the batch at once as memory allows."""

from __future__ import annotations

import torch
from torch import Tensor

from .data import Batch
from .errors import OUT_OF_MEMORY, WorkerError, is_out_of_memory
from .fisher import FisherEstimate
from .models import LanguageModel
from .optimiser import Optimiser

Gradients = dict[str, Tensor]


class InnerLoop:
    """Takes inner steps on `model`, whose parameters are updated in place."""

    def __init__(
        self, model: LanguageModel, optimiser: Optimiser, *, clip: float, micro_batch: int, bf16: bool, fisher: bool
    ) -> None:
        """`micro_batch` is in samples. With `fisher`, the Fisher diagonal is estimated on the way."""
        self.model = model
        self.optimiser = optimiser
        self.fisher: FisherEstimate | None = None
        self.follow(clip=clip, micro_batch=micro_batch, bf16=bf16, fisher=fisher)
        self._parameters = model.weights()
        self._device = next(iter(self._parameters.values())).device

    def follow(self, *, clip: float, micro_batch: int, bf16: bool, fisher: bool) -> None:
        """Take the next steps by these; a Fisher diagonal that is estimated already goes on."""
        self.micro_batch = micro_batch
        self.fisher = (self.fisher or FisherEstimate()) if fisher else None
        self._clip = clip
        self._bf16 = bf16

    def step(self, batch: Batch, rate: float) -> float | None:
        """Take one step and return the batch's mean loss, None if the gradient was not finite (nothing was changed).

        When memory runs out the micro batch is halved, for good; at one sample, WorkerError("out_of_memory").
        """
        while True:
            try:
                return self._step(batch, rate)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                self._halve(error)

    def _halve(self, error: BaseException) -> None:
        if self.micro_batch <= 1:
            raise WorkerError("out_of_memory", OUT_OF_MEMORY) from error
        self.micro_batch = (self.micro_batch + 1) // 2
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _step(self, batch: Batch, rate: float) -> float | None:
        self.model.train()
        loss, gradients, micro = self._gradients(batch)
        norm = torch.nn.utils.get_total_norm(list(gradients.values()), foreach=True)
        # The one point at which a GPU is waited for: a non-finite step must not reach the optimiser.
        if not bool(torch.isfinite(norm)):
            return None
        if self.fisher is not None:
            self.fisher.add(micro)
        torch._foreach_mul_(list(gradients.values()), torch.clamp(self._clip / (norm + 1e-6), max=1.0))
        self.optimiser.step(gradients, rate)
        return float(loss)

    def _gradients(self, batch: Batch) -> tuple[Tensor, Gradients, Gradients]:
        """Return the batch's mean loss and gradients, and the gradients of one of its micro batches, for the Fisher."""
        if len(batch) <= self.micro_batch:
            loss, gradients = self._backward(batch)
            return loss, gradients, gradients
        total = torch.zeros((), device=self._device)
        gradients = {name: torch.zeros_like(p) for name, p in self._parameters.items()}
        micro: Gradients = {}
        for part in batch.split(self.micro_batch):
            loss, micro = self._backward(part)
            share = part.tokens / batch.tokens
            total += loss * share
            torch._foreach_add_(list(gradients.values()), list(micro.values()), alpha=share)
        return total, gradients, micro

    def _backward(self, batch: Batch) -> tuple[Tensor, Gradients]:
        here = batch.to(self._device)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._bf16):
            loss: Tensor = self.model(here.inputs, here.targets)
        gradients = torch.autograd.grad(loss, list(self._parameters.values()), materialize_grads=True)
        return loss.detach(), dict(zip(self._parameters, gradients, strict=True))
