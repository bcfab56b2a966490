"""Reading a checkpoint made elsewhere: a safetensors file of our names, or a directory as `transformers` writes it.

Safetensors alone, no pickles. float16 and bfloat16 become float32 exactly.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ...protocol.event import EventManifest, HuggingFaceModel
from ..errors import UserError
from .counterpart import Counterpart, Mismatch
from .families import counterpart_of

_INDEX = "model.safetensors.index.json"
_CONFIG_BYTES = 1 << 20
_INDEX_BYTES = 64 << 20
_FLOATS = (torch.float32, torch.float16, torch.bfloat16)


def convert(event: EventManifest, source: Path, out: Path) -> None:
    """Write the weights in `source`, a file or a directory, to the safetensors file `out` as the event's model has them.

    Whether all tensors are there, and of what shapes, is checked by whoever reads `out`. Raises UserError.
    """
    if not source.is_dir():
        tensors = {name: _float32(name, tensor) for name, tensor in _tensors(source).items()}
    elif (counterpart := counterpart_of(event)) is not None:
        tensors = _of_counterpart(counterpart, source)
    else:
        assert isinstance(event.model, HuggingFaceModel)
        tensors = _of_library(event.model, source)
    save_file({name: tensor.contiguous() for name, tensor in sorted(tensors.items())}, out)


def _of_counterpart(counterpart: Counterpart, folder: Path) -> dict[str, Tensor]:
    config = _config(folder)
    _check(config, {key: counterpart.config[key] for key in counterpart.fixed})
    theirs = {name: _float32(name, tensor).numpy() for path in _files(folder) for name, tensor in _tensors(path).items()}
    try:
        ours = counterpart.inwards(theirs, config)
    except (ValueError, IndexError) as error:
        raise Mismatch(f"the checkpoint's tensors have other shapes than its config.json says: {error}") from error
    return {name: torch.from_numpy(array) for name, array in ours.items()}


def _of_library(model: HuggingFaceModel, folder: Path) -> dict[str, Tensor]:
    from transformers.utils import logging

    from ..trainer.errors import WorkerError
    from ..trainer.models.huggingface import config_of, factory_of

    config = _config(folder)
    _files(folder)
    logging.disable_progress_bar()
    try:
        _check(config, {"model_type": model.architecture, **_given(model, config_of(model).to_dict())})
        network, loading = factory_of(model).from_pretrained(
            str(folder), local_files_only=True, use_safetensors=True, trust_remote_code=False, output_loading_info=True,
            dtype=torch.float32,
        )  # fmt: skip
    except WorkerError as error:
        raise UserError(str(error)) from error
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise Mismatch(f"transformers cannot load {folder}: {(str(error).splitlines() or [''])[0][:200]}") from error
    if missing := sorted(loading["missing_keys"]):
        raise Mismatch(f"the checkpoint lacks {missing[0]} and {len(missing) - 1} more of the model")
    return {name: parameter.detach() for name, parameter in network.named_parameters()}


def _given(model: HuggingFaceModel, full: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the event says of the model, as `transformers` understood it."""
    return {key: full.get(key, value) for key, value in model.config.items()}


def _check(found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    for key, value in expected.items():
        if key in found and found[key] != value:
            raise Mismatch(f"the checkpoint's {key} is {found[key]!r}, the event's model has {value!r}")


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        if path.stat().st_size > _CONFIG_BYTES:
            raise Mismatch(f"{path} is no model's configuration: it is too large")
        config = json.loads(path.read_bytes())
    except FileNotFoundError:
        hint = "a checkpoint is a safetensors file, or a directory as save_pretrained writes it"
        raise Mismatch(f"{folder} has no config.json", hint) from None
    except (OSError, ValueError) as error:
        raise Mismatch(f"{path} cannot be read: {error}") from error
    if not isinstance(config, dict) or "model_type" not in config:
        raise Mismatch(f"{path} does not say of what model it is")
    return config


def _files(folder: Path) -> list[Path]:
    """Return the checkpoint's safetensors files: one, or those that its index lists."""
    single, index = folder / "model.safetensors", folder / _INDEX
    if single.is_file():
        return [single]
    if not index.is_file():
        pickled = any((folder / name).exists() for name in ("pytorch_model.bin", "pytorch_model.bin.index.json"))
        hint = "pickled weights are never loaded: save them again with safe_serialization=True" if pickled else ""
        raise Mismatch(f"{folder} has no model.safetensors", hint)
    try:
        if index.stat().st_size > _INDEX_BYTES:
            raise ValueError("it is too large")
        names = set(json.loads(index.read_bytes())["weight_map"].values())
        if not all(isinstance(name, str) and name == Path(name).name for name in names):
            raise ValueError("it names files elsewhere")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Mismatch(f"{index} is no index of weights: {error}") from error
    return [folder / name for name in sorted(names)]


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise Mismatch(f"{path} is not a safetensors file: {error}") from error


def _float32(name: str, tensor: Tensor) -> Tensor:
    if tensor.dtype not in _FLOATS:
        raise Mismatch(f"{name} holds {str(tensor.dtype).removeprefix('torch.')}, where weights are float32, float16 or bfloat16")
    return tensor.float()
