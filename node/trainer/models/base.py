"""What every model family offers to the trainer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal, NamedTuple

from torch import Tensor, nn

Objective = Literal["causal", "masked"]

IGNORED = -100
"""The target of a position that no loss is taken at."""


class FeedForward(NamedTuple):
    """A layer's feed-forward network: what comes in goes through `enter`, `activation` and `leave`."""

    enter: nn.Linear
    leave: nn.Linear
    activation: Callable[[Tensor], Tensor]


class LanguageModel(nn.Module, ABC):
    """A model that is called with token ids and returns its loss.

    `vocabulary` is the number of token ids it knows, `width` that of `hidden`, `objective` says what its batches look like.
    """

    objective: Objective
    vocabulary: int
    width: int

    @abstractmethod
    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean cross entropy in nats over the targets that are not IGNORED: a float32 scalar.

        `inputs` and `targets` are int64 of shape (batch, block).
        """

    @abstractmethod
    def hidden(self, inputs: Tensor) -> Tensor:
        """Return the last layer's output, (batch, block, width), which a head is put on."""

    @abstractmethod
    def logits(self, inputs: Tensor) -> Tensor:
        """Return the scores of every token id at every position, (batch, block, vocabulary)."""

    @abstractmethod
    def token_embedding(self) -> nn.Embedding:
        """Return the table that token ids are read by."""

    def feed_forwards(self) -> dict[str, FeedForward]:
        """Return the layers' feed-forward networks by the layers' names; none in a family that takes no extra experts."""
        return {}

    @abstractmethod
    def initialise(self, seed: int) -> None:
        """Set all weights from `seed`, to the same bits on every machine. The model is on the CPU."""

    def weights(self) -> dict[str, nn.Parameter]:
        """Return the trainable parameters by name, sorted; one that is used in two places comes once."""
        return {name: p for name, p in sorted(self.named_parameters()) if p.requires_grad}
