"""LoRA adapters (Hu et al. 2021, https://arxiv.org/abs/2106.09685) in the format of `peft`: adapter_config.json beside
adapter_model.safetensors, whose tensors are `base_model.model.NAME.lora_A.weight` (r × in) and `…lora_B.weight` (out × r).

An adapted weight is W + s·B·A with s = lora_alpha / r, or lora_alpha / √r (rank-stabilised, https://arxiv.org/abs/2312.03732).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from safetensors import SafetensorError

from ..errors import UserError
from .reading import read_config, read_headers

if TYPE_CHECKING:
    from torch import Tensor

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
PREFIX = "base_model.model."
_A, _B = ".lora_A.weight", ".lora_B.weight"
_HINT = "peft's save_pretrained writes it"


class LoraConfig(BaseModel):
    """What we read of adapter_config.json; anything else that would change the arithmetic is refused."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    peft_type: Literal["LORA"]
    r: Annotated[int, Field(ge=1, le=65536)]
    lora_alpha: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    use_rslora: bool = False
    fan_in_fan_out: bool = False
    use_dora: Literal[False] = False
    bias: Literal["none"] = "none"
    rank_pattern: Annotated[dict[str, int], Field(max_length=0)] = {}
    alpha_pattern: Annotated[dict[str, float], Field(max_length=0)] = {}

    @property
    def scale(self) -> float:
        """What B·A is multiplied by."""
        return self.lora_alpha / (math.sqrt(self.r) if self.use_rslora else self.r)


@dataclass(frozen=True)
class Adapter:
    """A checked adapter: `pairs` are the shapes (out, in) of the weights that it changes, by their names in the base model."""

    config: LoraConfig
    pairs: dict[str, tuple[int, int]]


def check_adapter(folder: Path) -> Adapter:
    """Read an adapter's configuration and its tensors' shapes, none of its weights. Raises UserError."""
    config = read_config(folder / CONFIG, LoraConfig, _HINT)
    shapes = {name: header.shape for name, header in read_headers(folder / WEIGHTS, _HINT).items()}
    names = {name.removesuffix(_A).removesuffix(_B) for name in shapes}
    pairs = {}
    for name in sorted(names):
        down, up = shapes.pop(name + _A, ()), shapes.pop(name + _B, ())
        if len(down) != 2 or len(up) != 2 or down[0] != config.r or up[1] != config.r or not name.startswith(PREFIX):
            raise UserError(f"{folder / WEIGHTS}: {name} is no pair of LoRA matrices of rank {config.r}")
        pairs[f"{name.removeprefix(PREFIX)}.weight"] = (up[0], down[1])
    if shapes or not pairs:
        raise UserError(f"{folder / WEIGHTS} holds something else than LoRA matrices")
    return Adapter(config, pairs)


def apply_adapter(base: Path, folder: Path, out: Path) -> int:
    """Write the safetensors file `base` with the adapter in it to `out`; return how many tensors changed. Raises UserError."""
    from safetensors.torch import load_file, save_file

    from ..files import replacing

    adapter = check_adapter(folder)
    try:
        weights = load_file(base)
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot read {base}: {error}") from error
    weights |= changed_by(adapter, folder, weights)
    with replacing(out) as temporary:
        save_file(weights, temporary, {"format": "pt"})
        temporary.chmod(0o644)
    return len(adapter.pairs)


def changed_by(adapter: Adapter, folder: Path, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights that the adapter in `folder` changes, as they are with it. Raises UserError if it is not for them."""
    from safetensors.torch import load_file

    matrices = load_file(folder / WEIGHTS)
    changed = {}
    for name, shape in adapter.pairs.items():
        if name not in weights or tuple(weights[name].shape) != _stored(shape, adapter.config):
            raise UserError(f"the base has no {name} of shape {shape}, which the adapter changes")
        change = _change(matrices, name, adapter.config)
        changed[name] = (weights[name].float() + change).to(weights[name].dtype)
    return changed


def _stored(shape: tuple[int, int], config: LoraConfig) -> tuple[int, int]:
    return shape[::-1] if config.fan_in_fan_out else shape


def _change(matrices: dict[str, Tensor], name: str, config: LoraConfig) -> Tensor:
    stem = PREFIX + name.removesuffix(".weight")
    change = (matrices[stem + _B].float() @ matrices[stem + _A].float()) * config.scale
    return change.T if config.fan_in_fan_out else change


def extract_adapter(base: Path, tuned: Path, folder: Path, rank: int) -> float:
    """Write the adapter of `rank` that is nearest to what `tuned` changed of `base` (truncated SVD, Eckart & Young 1936).

    Returns the share of the change's norm that it leaves out. Raises UserError if something changed that is no matrix.
    """
    import torch
    from safetensors.torch import load_file, save

    from ..files import atomic_write, make_folder

    try:
        before, after = load_file(base), load_file(tuned)
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot read the weights: {error}") from error
    matrices: dict[str, Tensor] = {}
    lost = total = 0.0
    for name in _changed(before, after):
        change = after[name].double() - before[name].double()
        left, values, right = torch.linalg.svd(change, full_matrices=False)
        kept = min(rank, len(values))
        down, up = torch.zeros(rank, change.shape[1]), torch.zeros(change.shape[0], rank)
        root = values[:kept].sqrt()
        down[:kept], up[:, :kept] = (root[:, None] * right[:kept]).float(), (left[:, :kept] * root).float()
        stem = PREFIX + name.removesuffix(".weight")
        matrices |= {stem + _A: down, stem + _B: up}
        lost, total = lost + float(values[kept:].square().sum()), total + float(values.square().sum())
    make_folder(folder)
    atomic_write(folder / WEIGHTS, save(matrices, {"format": "pt"}))
    modules = sorted({name.removeprefix(PREFIX).removesuffix(_A) for name in matrices if name.endswith(_A)})
    atomic_write(folder / CONFIG, (json.dumps(_written(rank, modules), indent=2) + "\n").encode())
    return math.sqrt(lost / total)


def _changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> list[str]:
    if {name: tensor.shape for name, tensor in before.items()} != {name: tensor.shape for name, tensor in after.items()}:
        raise UserError("the two have other tensors: an adapter holds only changes of the same ones")
    changed = sorted(name for name, tensor in before.items() if not tensor.equal(after[name]))
    if not changed:
        raise UserError("the two have the same weights")
    odd = next((name for name in changed if before[name].ndim != 2 or not name.endswith(".weight")), None)
    if odd is not None:
        raise UserError(f"{odd} changed, and is no weight matrix: an adapter cannot hold that")
    return changed


def _written(rank: int, modules: list[str]) -> dict[str, Any]:
    return {
        "peft_type": "LORA", "base_model_name_or_path": None, "r": rank, "lora_alpha": rank, "lora_dropout": 0.0,
        "bias": "none", "target_modules": modules, "use_rslora": False, "fan_in_fan_out": False, "inference_mode": True,
    }  # fmt: skip
