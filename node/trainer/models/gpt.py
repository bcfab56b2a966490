"""A decoder-only language model: Radford et al. 2019, with rotary positions (Su et al. 2021), no biases, tied embeddings."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import IGNORED, FeedForward, LanguageModel
from .initial import fill_normal

_DEVIATION = 0.02
_ROTARY_BASE = 10_000.0


class Gpt(LanguageModel):
    """Pre-norm transformer for blocks of at most `block` tokens."""

    objective = "causal"
    cosine: Tensor
    sine: Tensor

    def __init__(self, vocabulary: int, layers: int, width: int, heads: int, block: int) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.width = width
        self.embedding = nn.Embedding(vocabulary, width)
        self.layers = nn.ModuleList(Layer(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width, bias=False)
        cosine, sine = rotary_tables(block, width // heads)
        self.register_buffer("cosine", cosine, persistent=False)
        self.register_buffer("sine", sine, persistent=False)

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        logits = self.logits(inputs)
        return F.cross_entropy(logits.view(-1, self.vocabulary).float(), targets.reshape(-1), ignore_index=IGNORED)

    def logits(self, inputs: Tensor) -> Tensor:
        return F.linear(self.hidden(inputs), self.embedding.weight)

    def hidden(self, inputs: Tensor) -> Tensor:
        hidden: Tensor = self.embedding(inputs)
        length = inputs.shape[1]
        rotation = (self.cosine[:length].to(hidden.dtype), self.sine[:length].to(hidden.dtype))
        for layer in self.layers:
            hidden = layer(hidden, *rotation)
        normed: Tensor = self.norm(hidden)
        return normed

    def token_embedding(self) -> nn.Embedding:
        return self.embedding

    def feed_forwards(self) -> dict[str, FeedForward]:
        layers = ((f"layers.{at}", layer) for at, layer in enumerate(self.layers) if isinstance(layer, Layer))
        return {name: FeedForward(layer.feed_forward_in, layer.feed_forward_out, F.gelu) for name, layer in layers}

    def initialise(self, seed: int) -> None:
        residual = _DEVIATION / math.sqrt(2 * len(self.layers))
        for name, weight in self.weights().items():
            if weight.ndim == 1:
                nn.init.ones_(weight)
            else:
                fill_normal(weight, seed, name, residual if name.endswith("out.weight") else _DEVIATION)


class Layer(nn.Module):
    """Causal attention, then a feed-forward network four times as wide, each added to what comes in."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width, bias=False)
        self.attention_in = nn.Linear(width, 3 * width, bias=False)
        self.attention_out = nn.Linear(width, width, bias=False)
        self.feed_forward_norm = nn.LayerNorm(width, bias=False)
        self.feed_forward_in = nn.Linear(width, 4 * width, bias=False)
        self.feed_forward_out = nn.Linear(4 * width, width, bias=False)

    def forward(self, hidden: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        hidden = hidden + self.attention_out(self._attend(self.attention_norm(hidden), cosine, sine))
        inner = F.gelu(self.feed_forward_in(self.feed_forward_norm(hidden)))
        fed: Tensor = self.feed_forward_out(inner)
        return hidden + fed

    def _attend(self, hidden: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        batch, length, width = hidden.shape
        turned, value = self.attention_in(hidden).split((2 * width, width), dim=-1)
        # Queries and keys are rotated in one go, and taken apart by split and unbind, whose gradients are one operation:
        # few and large operations are what a small model needs on a CPU.
        turned = rotate(turned.view(batch, length, 2, self.heads, width // self.heads), cosine, sine)
        query, key = turned.transpose(1, 3).unbind(2)
        value = value.view(batch, length, self.heads, width // self.heads).transpose(1, 2)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return mixed.transpose(1, 2).reshape(batch, length, width)


def rotary_tables(block: int, head_width: int) -> tuple[Tensor, Tensor]:
    """Return cosines and sines of shape (block, 1, 1, head_width / 2)."""
    frequencies = _ROTARY_BASE ** (-torch.arange(0, head_width, 2, dtype=torch.float32) / head_width)
    angles = torch.outer(torch.arange(block, dtype=torch.float32), frequencies)[:, None, None, :]
    return angles.cos(), angles.sin()


def rotate(parts: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotate pairs of `parts`, (batch, length, any, heads, head width), by their position's angles."""
    first, second = parts.chunk(2, dim=-1)
    cosine, sine = cosine.to(parts.dtype), sine.to(parts.dtype)
    return torch.cat((first * cosine - second * sine, second * cosine + first * sine), dim=-1)
