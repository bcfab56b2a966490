"""Batches of blocks: which blocks is decided by (event, round, PeerId), how they look by the model's objective."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ....protocol.sampling import sample_indices
from ..errors import WorkerError
from ..models import IGNORED, Objective
from .corpus import Corpus
from .tokenizer import Tokens

Ids = npt.NDArray[np.int64]

_MASKED, _REPLACED = 0.8, 0.9


@dataclass(frozen=True)
class Batch:
    """`inputs` and `targets` are int64 of shape (batch, block); `tokens` counts the targets that are not IGNORED."""

    inputs: Tensor
    targets: Tensor
    tokens: int

    @classmethod
    def of(cls, inputs: Ids, targets: Ids) -> Batch:
        """Build from arrays."""
        return cls(torch.from_numpy(inputs), torch.from_numpy(targets), int((targets != IGNORED).sum()))

    def __len__(self) -> int:
        return len(self.inputs)

    def split(self, size: int) -> Iterator[Batch]:
        """Yield parts of at most `size` blocks."""
        for start in range(0, len(self), size):
            targets = self.targets[start : start + size]
            yield Batch(self.inputs[start : start + size], targets, int((targets != IGNORED).sum()))

    def to(self, device: torch.device) -> Batch:
        """Return the batch on `device`; a copy to a GPU goes on while the CPU does other things."""
        if device.type == "cpu":
            return self
        inputs, targets = (part.pin_memory().to(device, non_blocking=True) for part in (self.inputs, self.targets))
        return Batch(inputs, targets, self.tokens)


class Batches:
    """Cuts a corpus into blocks and makes them into batches for one objective."""

    def __init__(self, corpus: Corpus, block: int, objective: Objective, mask_share: float = 0.0) -> None:
        self.tokenizer = corpus.tokenizer
        self.block = block
        self.objective = objective
        self._corpus = corpus
        self._mask_share = mask_share
        if objective == "masked" and corpus.tokenizer.mask is None:
            raise WorkerError("bad_data", "a masked language model needs a tokenizer with a mask token")
        if not self.samples:
            raise WorkerError("no_data", f"the data has not one block of {block} tokens to train on")

    @property
    def vocabulary(self) -> int:
        """Token ids that a model must know to train on these batches."""
        tokenizer = self._corpus.tokenizer
        mask = tokenizer.mask if self.objective == "masked" else None
        return max(tokenizer.vocabulary, 0 if mask is None else mask + 1)

    @property
    def samples(self) -> int:
        """Blocks to train on."""
        return self._blocks(self._corpus.train)

    @property
    def held_out_samples(self) -> int:
        """Blocks that are held out."""
        return self._blocks(self._corpus.held_out)

    def _blocks(self, tokens: Tokens) -> int:
        return max(0, len(tokens) - 1) // self.block

    def draw(self, event: bytes, round: int, peer_id: str, start: int, count: int) -> Batch:
        """Return samples `start` … of a trainer's sequence for a round; the same arguments give the same batch."""
        indices = sample_indices(event, round, peer_id, start, count, self.samples)
        if self.objective == "causal":
            return self._causal(self._corpus.train, indices)
        # The masks follow from the same names as the blocks, so that they can be audited too.
        seeds = sample_indices(event, round, "mask/" + peer_id, start, count, 1 << 63)
        return self._masked(self._corpus.train, indices, seeds)

    def held_out(self, samples: int, size: int) -> Iterator[Batch]:
        """Yield the held-out set, the same every time: `samples` blocks spread evenly over the part, `size` a batch."""
        available = self.held_out_samples
        wanted = min(samples, available)
        indices = [at * available // wanted for at in range(wanted)] if wanted else []
        for start in range(0, wanted, size):
            yield self.held_out_at(indices[start : start + size])

    def held_out_at(self, indices: Sequence[int]) -> Batch:
        """Return these blocks of the held-out part; the same block looks the same every time."""
        if self.objective == "causal":
            return self._causal(self._corpus.held_out, indices)
        return self._masked(self._corpus.held_out, indices, indices)

    def _causal(self, tokens: Tokens, indices: Sequence[int]) -> Batch:
        """Every position predicts the next token."""
        blocks = self._cut(tokens, indices, self.block + 1)
        return Batch.of(np.ascontiguousarray(blocks[:, :-1]), np.ascontiguousarray(blocks[:, 1:]))

    def _masked(self, tokens: Tokens, indices: Sequence[int], seeds: Sequence[int]) -> Batch:
        """Hide a share of the tokens, each block by its own seed, so that it does not matter how blocks are batched."""
        rows = [self._hide(row, seed) for row, seed in zip(self._cut(tokens, indices, self.block), seeds, strict=True)]
        return Batch.of(np.stack([inputs for inputs, _ in rows]), np.stack([targets for _, targets in rows]))

    def _cut(self, tokens: Tokens, indices: Sequence[int], length: int) -> Ids:
        starts = np.asarray(indices, dtype=np.int64)[:, None] * self.block
        return tokens[starts + np.arange(length)].astype(np.int64)

    def _hide(self, block: Ids, seed: int) -> tuple[Ids, Ids]:
        """Return inputs and targets (Devlin et al. 2019): of what is chosen 80% becomes the mask, 10% another token."""
        tokenizer = self._corpus.tokenizer
        assert tokenizer.mask is not None
        random = np.random.default_rng(seed)
        chosen = random.random(block.shape) < self._mask_share
        chosen[0] |= not chosen.any()  # a block without a target would have no loss
        fate = random.random(block.shape)
        inputs = np.where(chosen & (fate < _MASKED), tokenizer.mask, block)
        other = random.integers(0, tokenizer.vocabulary, block.shape)
        inputs = np.where(chosen & (fate >= _MASKED) & (fate < _REPLACED), other, inputs)
        return inputs, np.where(chosen, block, IGNORED)
