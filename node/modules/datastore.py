"""Retrieval datastores as in kNN-LM (Khandelwal et al. 2020, https://arxiv.org/abs/1911.00172).

The tensors of `datastore.safetensors` are `keys` (entries × width, floats: the base's last hidden state at a position) and
`values` (entries, I32 or I64: the token that the position's score is for: the next one, or in a masked language model the hidden
one). `datastore.json` has `k`, `temperature` and `lambda`: of the k nearest keys by squared L2 distance d, a token's probability
is p_kNN ∝ Σ exp(−d / temperature) over those that have it as their value, and the answer λ·p_kNN + (1 − λ)·p_base.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from ..errors import UserError
from .reading import read_config, read_headers

CONFIG = "datastore.json"
WEIGHTS = "datastore.safetensors"
_HINT = "docs/RELEASES.md says what stands in a datastore's package"


class DatastoreConfig(BaseModel):
    """What datastore.json says; `share` is λ."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    k: Annotated[int, Field(ge=1, le=4096)] = 8
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    share: Annotated[float, Field(gt=0, lt=1, alias="lambda")] = 0.25


@dataclass(frozen=True)
class Datastore:
    """A checked datastore."""

    config: DatastoreConfig
    entries: int
    width: int


def check_datastore(folder: Path) -> Datastore:
    """Read the configuration and the tensors' shapes, none of the entries. Raises UserError."""
    config, headers = read_config(folder / CONFIG, DatastoreConfig, _HINT), read_headers(folder / WEIGHTS, _HINT)
    keys, values = headers.get("keys"), headers.get("values")
    if keys is None or values is None or len(headers) != 2 or len(keys.shape) != 2 or values.shape != keys.shape[:1]:
        raise UserError(f"{folder / WEIGHTS} holds something else than keys and as many values", _HINT)
    if not keys.is_float or values.dtype not in ("I32", "I64"):
        raise UserError(f"{folder / WEIGHTS}: keys are floats and values I32 or I64, not {keys.dtype} and {values.dtype}", _HINT)
    if keys.shape[0] < config.k:
        raise UserError(f"{folder / CONFIG}: k is {config.k}, and there are {keys.shape[0]} entries", _HINT)
    return Datastore(config, *keys.shape)
