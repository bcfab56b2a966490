"""Any architecture that `transformers` has built in, from a configuration that stands in the event. Nothing is downloaded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from ....protocol.event import HuggingFaceModel
from ..errors import WorkerError
from .base import IGNORED, LanguageModel
from .initial import fill_normal

_DEVIATION = 0.02
_CODE_KEYS = {"auto_map", "trust_remote_code", "custom_pipelines", "quantization_config"}


class HuggingFace(LanguageModel):
    """Wraps an `AutoModelForCausalLM` or `AutoModelForMaskedLM`; parameter names are those of the wrapped model."""

    def __init__(self, model: HuggingFaceModel) -> None:
        super().__init__()
        self.objective = "causal" if model.task == "causal-lm" else "masked"
        network, config = _network(model)
        self.network = network
        self.vocabulary = int(config.vocab_size)
        self.width = int(getattr(config, "hidden_size", 0))
        self.deviation = float(getattr(config, "initializer_range", _DEVIATION))

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        logits = self.logits(inputs)
        return F.cross_entropy(logits.view(-1, logits.shape[-1]).float(), targets.reshape(-1), ignore_index=IGNORED)

    def logits(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.network(input_ids=inputs).logits
        return logits

    def hidden(self, inputs: Tensor) -> Tensor:
        hidden: Tensor = self.network(input_ids=inputs, output_hidden_states=True).hidden_states[-1]
        return hidden

    def token_embedding(self) -> nn.Embedding:
        table: nn.Embedding = self.network.get_input_embeddings()  # type: ignore[operator]
        return table

    def initialise(self, seed: int) -> None:
        """Keep the constants that the architecture starts with (norms, biases); draw the rest anew, reproducibly."""
        for name, weight in self.weights().items():
            if bool((weight != weight.flatten()[0]).any()):
                fill_normal(weight, seed, name, self.deviation)

    def weights(self) -> dict[str, nn.Parameter]:
        return {name.removeprefix("network."): weight for name, weight in super().weights().items()}


def _network(model: HuggingFaceModel) -> tuple[nn.Module, Any]:
    config, factory = config_of(model), factory_of(model)
    config.use_cache = False
    with _building(model):
        return factory.from_config(config, trust_remote_code=False).float(), config


def config_of(model: HuggingFaceModel) -> Any:
    """Return `transformers`' configuration of the event's model. Raises WorkerError."""
    auto = _library()
    _refuse_code(model)
    with _building(model):
        return auto.AutoConfig.for_model(model.architecture, **model.config)


def factory_of(model: HuggingFaceModel) -> Any:
    """Return the class of `transformers` that builds and loads models for the event's task. Raises WorkerError."""
    return _library().AutoModelForCausalLM if model.task == "causal-lm" else _library().AutoModelForMaskedLM


def _library() -> Any:
    try:
        import transformers
    except ImportError as error:
        text = "this event's model needs transformers: pip install 'collab-node[transformers]'"
        raise WorkerError("missing_extra", text) from error
    return transformers


@contextmanager
def _building(model: HuggingFaceModel) -> Iterator[None]:
    try:
        yield
    except (AttributeError, ImportError, KeyError, RuntimeError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise WorkerError("bad_model", f"transformers cannot build {model.architecture!r}: {reason}") from error


def _refuse_code(model: HuggingFaceModel) -> None:
    """Raise WorkerError("bad_model") for settings by which `transformers` would fetch code or weights from the hub.

    `attn_implementation = "owner/kernel"` is one; so that the next version's are caught too, nothing that could name a
    repository is let through.
    """
    for key, value in sorted(model.config.items()):
        internal = key.startswith("_") or key.endswith("_implementation") or key in _CODE_KEYS
        if internal or (isinstance(value, str) and "/" in value):
            raise WorkerError("bad_model", f"model.config.{key[:40]}: an event cannot bring code")
