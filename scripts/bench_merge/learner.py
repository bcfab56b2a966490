"""A small classifier, its training, and what a worker measures about its weights for the merge."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap

from collab.kernels import Tensors

HIDDEN = 32
BATCH = 32
RATE = 3e-3


class Learner:
    """64 pixels → 32 → 10 classes; one module that every worker borrows. `seed` decides its first weights and all draws."""

    def __init__(self, seed: int) -> None:
        self._draws = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self._module = nn.Sequential(nn.Linear(64, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 10))

    def weights(self) -> dict[str, Tensor]:
        return {name: tensor.detach().clone() for name, tensor in self._module.state_dict().items()}

    def train(self, start: Tensors, images: Tensor, labels: Tensor, steps: int) -> dict[str, Tensor]:
        """Take Adam's steps from `start`; return where they lead."""
        self._module.load_state_dict(dict(start))
        optimiser = torch.optim.Adam(self._module.parameters(), RATE)
        for _ in range(steps):
            batch = torch.randint(len(images), (min(BATCH, len(images)),), generator=self._draws)
            optimiser.zero_grad()
            loss = nn.functional.cross_entropy(self._module(images[batch]), labels[batch])
            torch.autograd.backward(loss)
            optimiser.step()
        return self.weights()

    def accuracy(self, weights: Tensors, images: Tensor, labels: Tensor) -> float:
        """Per cent."""
        found = functional_call(self._module, dict(weights), (images,)).argmax(dim=-1)
        return 100 * float((found == labels).float().mean())

    def fisher(self, weights: Tensors, images: Tensor) -> dict[str, Tensor]:
        """The Fisher diagonal: the mean over images of Σ_c p(c) (∂ log p(c))², in expectation over the model's own labels."""

        def log_probabilities(of: dict[str, Tensor], image: Tensor) -> Tensor:
            return torch.log_softmax(functional_call(self._module, of, (image,)), dim=-1)

        slopes = vmap(jacrev(log_probabilities), (None, 0))(dict(weights), images)
        shares = log_probabilities(dict(weights), images).exp().detach()
        return {name: torch.einsum("nc,nc...->...", shares, slope.square()) / len(images) for name, slope in slopes.items()}

    def grams(self, weights: Tensors, images: Tensor) -> dict[str, Tensor]:
        """The mean of xxᵀ for the input x of each layer."""
        hidden = torch.relu(images @ weights["0.weight"].T + weights["0.bias"])
        return {"0.weight": images.T @ images / len(images), "2.weight": hidden.T @ hidden / len(images)}
