"""ALBERT for masked language modelling: factorised embeddings, one layer applied many times (Lan et al. 2020).

As the sahajBERT swarm trained it (Diskin et al. 2021), without sentence-order prediction: blocks are packed from running text,
so there are no sentence pairs, no token types and no padding.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ....protocol.event import AlbertModel
from .base import IGNORED, FeedForward, LanguageModel
from .initial import fill_normal

_DEVIATION = 0.02
_NORM_EPSILON = 1e-12


class Albert(LanguageModel):
    """Post-norm encoder for blocks of at most `block` tokens."""

    objective = "masked"
    places: Tensor

    def __init__(self, model: AlbertModel, block: int) -> None:
        super().__init__()
        self.vocabulary = model.vocabulary
        self.width = model.width
        self.repeats = model.layers
        self.tokens = nn.Embedding(model.vocabulary, model.embedding)
        self.positions = nn.Embedding(block, model.embedding)
        self.embedding_norm = nn.LayerNorm(model.embedding, eps=_NORM_EPSILON)
        self.embedding_out = nn.Linear(model.embedding, model.width)
        self.layer = Layer(model.width, model.heads, model.feed_forward)
        self.head_in = nn.Linear(model.width, model.embedding)
        self.head_norm = nn.LayerNorm(model.embedding, eps=_NORM_EPSILON)
        self.head_bias = nn.Parameter(torch.zeros(model.vocabulary))
        self.register_buffer("places", torch.arange(block), persistent=False)

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        # Only the masked positions, about one in seven, go through the head, which is the widest matrix of the model.
        wanted = targets != IGNORED
        return F.cross_entropy(self._scores(self.hidden(inputs)[wanted]).float(), targets[wanted])

    def logits(self, inputs: Tensor) -> Tensor:
        return self._scores(self.hidden(inputs))

    def hidden(self, inputs: Tensor) -> Tensor:
        embedded = self.tokens(inputs) + self.positions(self.places[: inputs.shape[1]])
        hidden: Tensor = self.embedding_out(self.embedding_norm(embedded))
        for _ in range(self.repeats):
            hidden = self.layer(hidden)
        return hidden

    def _scores(self, hidden: Tensor) -> Tensor:
        head = self.head_norm(_activation(self.head_in(hidden)))
        return F.linear(head, self.tokens.weight, self.head_bias)

    def token_embedding(self) -> nn.Embedding:
        return self.tokens

    def feed_forwards(self) -> dict[str, FeedForward]:
        return {"layer": FeedForward(self.layer.feed_forward_in, self.layer.feed_forward_out, _activation)}

    def initialise(self, seed: int) -> None:
        for name, weight in self.weights().items():
            if weight.ndim >= 2:
                fill_normal(weight, seed, name, _DEVIATION)
            else:
                nn.init.constant_(weight, 1.0 if name.endswith("norm.weight") else 0.0)


def _activation(values: Tensor) -> Tensor:
    return F.gelu(values, approximate="tanh")


class Layer(nn.Module):
    """Bidirectional attention, then a feed-forward network, each added to what comes in and normalised."""

    def __init__(self, width: int, heads: int, feed_forward: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_in = nn.Linear(width, 3 * width)
        self.attention_out = nn.Linear(width, width)
        self.attention_norm = nn.LayerNorm(width, eps=_NORM_EPSILON)
        self.feed_forward_in = nn.Linear(width, feed_forward)
        self.feed_forward_out = nn.Linear(feed_forward, width)
        self.feed_forward_norm = nn.LayerNorm(width, eps=_NORM_EPSILON)

    def forward(self, hidden: Tensor) -> Tensor:
        hidden = self.attention_norm(hidden + self.attention_out(self._attend(hidden)))
        inner = _activation(self.feed_forward_in(hidden))
        normed: Tensor = self.feed_forward_norm(hidden + self.feed_forward_out(inner))
        return normed

    def _attend(self, hidden: Tensor) -> Tensor:
        batch, length, width = hidden.shape
        parts = self.attention_in(hidden).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(query, key, value)
        return mixed.transpose(1, 2).reshape(batch, length, width)
