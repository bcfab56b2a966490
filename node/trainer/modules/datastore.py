"""A datastore beside a base: what it scores is mixed with what stood where it was in a like state (kNN-LM)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ...errors import UserError
from ...modules.datastore import WEIGHTS, DatastoreConfig, check_datastore
from ..gates.version import Version
from ..models import LanguageModel
from .tensors import load_tensors, require_width

_MOST_DISTANCES = 1 << 24
"""So many distances are held at once: 64 MiB."""


class WithDatastore(Version):
    """A base with a datastore: `keys` are (entries, width), float32, and `values` (entries,), int64."""

    def __init__(
        self, model: LanguageModel, weights: Mapping[str, Tensor], state: bytes, config: DatastoreConfig, keys: Tensor,
        values: Tensor,
    ) -> None:  # fmt: skip
        super().__init__(model, weights, state)
        self._config, self._keys, self._values = config, keys, values

    def logits(self, inputs: Tensor) -> Tensor:
        """Return logarithms of the mixed probabilities: scores as good as any."""
        base = super().logits(inputs).log_softmax(-1)
        share = torch.tensor(self._config.share)
        queries = self.hidden(inputs).flatten(0, -2)
        rows = max(1, _MOST_DISTANCES // len(self._keys))
        found = torch.cat([self._retrieved(some, base.shape[-1]) for some in torch.split(queries, rows)]).view(base.shape)
        return torch.logaddexp(base + (1 - share).log(), found.log() + share.log())

    def _retrieved(self, queries: Tensor, vocabulary: int) -> Tensor:
        """Return p_kNN, (queries, vocabulary)."""
        distances, at = torch.cdist(queries, self._keys).square().topk(self._config.k, largest=False)
        parts = (-distances / self._config.temperature).softmax(-1)
        return torch.zeros(len(queries), vocabulary, device=queries.device).scatter_add(1, self._values[at], parts)


def with_datastore(model: LanguageModel, weights: Mapping[str, Tensor], state: bytes, folder: Path) -> Version:
    """Return the base with the datastore beside it. Raises UserError."""
    store = check_datastore(folder)
    require_width("the datastore", store.width, model.width)
    tensors = load_tensors(folder / WEIGHTS, next(model.parameters()).device)
    values = tensors["values"].long()
    if not bool(((values >= 0) & (values < model.vocabulary)).all()):
        raise UserError(f"the datastore has tokens that the base, which knows {model.vocabulary}, does not: another tokenizer's")
    return WithDatastore(model, weights, state, store.config, tensors["keys"], values)
