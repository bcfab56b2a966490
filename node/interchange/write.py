"""Writing a directory that `transformers` loads with `from_pretrained`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file, save_file

from ...protocol.event import EventManifest, HuggingFaceModel
from ..errors import UserError
from .counterpart import Arrays
from .families import counterpart_of


def write_transformers(event: EventManifest, weights: Path, folder: Path) -> None:
    """Write `config.json` and `model.safetensors` into `folder`, from the event's weights in the safetensors file `weights`.

    Raises UserError if this needs `transformers` and it is not installed.
    """
    ours = load_file(weights)
    counterpart = counterpart_of(event)
    if counterpart is None:
        assert isinstance(event.model, HuggingFaceModel)
        _write(folder, _own_config(event.model), ours)
    else:
        _write(folder, counterpart.config, counterpart.outwards(ours))


def _write(folder: Path, config: dict[str, Any], tensors: Arrays) -> None:
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    # `transformers` wants to know which framework wrote it.
    save_file(dict(sorted(tensors.items())), folder / "model.safetensors", {"format": "pt"})


def _own_config(model: HuggingFaceModel) -> dict[str, Any]:
    from ..trainer.errors import WorkerError
    from ..trainer.models.huggingface import config_of

    try:
        config = config_of(model)
    except WorkerError as error:
        raise UserError(str(error)) from error
    from transformers.models.auto import modeling_auto

    names = "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES" if model.task == "causal-lm" else "MODEL_FOR_MASKED_LM_MAPPING_NAMES"
    fields: dict[str, Any] = json.loads(config.to_json_string(use_diff=True))
    return {**fields, "architectures": [getattr(modeling_auto, names)[model.architecture]], "dtype": "float32"}
