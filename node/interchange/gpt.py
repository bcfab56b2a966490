"""Our GPT as `GPTNeoXForCausalLM`, which computes the same with its biases at zero.

Both are pre-norm, with rotary positions over whole heads (split in halves, base 10,000), the exact GELU, and residuals one after
the other. Their attention matrix has query, key and value of head after head; ours has all queries, all keys, all values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from ...protocol.event import GptModel
from .counterpart import Array, Arrays, Counterpart, Mismatch, take

_ROTARY = {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 1.0}


def gpt(model: GptModel, block: int) -> Counterpart:
    """Return the counterpart of a model for blocks of `block` tokens."""
    config = {
        "architectures": ["GPTNeoXForCausalLM"], "model_type": "gpt_neox", "vocab_size": model.vocabulary,
        "hidden_size": model.width, "num_hidden_layers": model.layers, "num_attention_heads": model.heads,
        "intermediate_size": 4 * model.width, "hidden_act": "gelu", "rotary_pct": 1.0, "rotary_emb_base": 10000,
        "rope_parameters": _ROTARY, "use_parallel_residual": False, "tie_word_embeddings": True, "attention_bias": True,
        "attention_dropout": 0.0, "hidden_dropout": 0.0, "classifier_dropout": 0.0, "layer_norm_eps": 1e-5,
        "max_position_embeddings": block, "initializer_range": 0.02, "bos_token_id": None, "eos_token_id": None,
        "dtype": "float32", "torch_dtype": "float32",
    }  # fmt: skip
    fixed = (
        "model_type", "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act",
        "use_parallel_residual", "tie_word_embeddings", "layer_norm_eps",
    )  # fmt: skip
    return Counterpart(config, fixed, partial(_outwards, model), partial(_inwards, model))


def _names(model: GptModel) -> Iterator[tuple[str, str]]:
    """Yield our name and theirs of what is the same tensor there, without `.weight`."""
    yield "embedding", "gpt_neox.embed_in"
    yield "norm", "gpt_neox.final_layer_norm"
    for at in range(model.layers):
        ours, theirs = f"layers.{at}.", f"gpt_neox.layers.{at}."
        yield ours + "attention_norm", theirs + "input_layernorm"
        yield ours + "attention_out", theirs + "attention.dense"
        yield ours + "feed_forward_norm", theirs + "post_attention_layernorm"
        yield ours + "feed_forward_in", theirs + "mlp.dense_h_to_4h"
        yield ours + "feed_forward_out", theirs + "mlp.dense_4h_to_h"


def _attention(layer: int) -> tuple[str, str]:
    return f"layers.{layer}.attention_in.weight", f"gpt_neox.layers.{layer}.attention.query_key_value"


def _outwards(model: GptModel, ours: Arrays) -> dict[str, Array]:
    theirs: dict[str, Array] = {}
    for our, their in _names(model):
        weight = theirs[f"{their}.weight"] = ours[f"{our}.weight"]
        if our != "embedding":
            theirs[f"{their}.bias"] = np.zeros(len(weight), np.float32)
    for layer in range(model.layers):
        our, their = _attention(layer)
        theirs[f"{their}.weight"] = _by_head(ours[our], 3, model.heads)
        theirs[f"{their}.bias"] = np.zeros(3 * model.width, np.float32)
    return theirs


def _inwards(model: GptModel, theirs: Arrays, config: Mapping[str, Any]) -> dict[str, Array]:
    _check_rotary(config)
    ours = {f"{our}.weight": take(theirs, f"{their}.weight") for our, their in _names(model)}
    for layer in range(model.layers):
        our, their = _attention(layer)
        ours[our] = _by_head(take(theirs, f"{their}.weight"), model.heads, 3)
    for name, bias in theirs.items():
        if name.endswith((".bias", "_bias")) and bias.any():
            raise Mismatch(f"the checkpoint's {name} is not zero, and the built-in GPT has no biases", _BIASES)
    return ours


_HINT = "give the event the family 'huggingface' with this checkpoint's architecture"
_BIASES = f"train it with the biases frozen at zero, or {_HINT}"


def _check_rotary(config: Mapping[str, Any]) -> None:
    rotary = config.get("rope_parameters") or {}
    share = rotary.get("partial_rotary_factor", config.get("rotary_pct", 0.25))
    base = rotary.get("rope_theta", config.get("rotary_emb_base", 10000))
    if (share, base, rotary.get("rope_type", "default")) != (1.0, 10000, "default"):
        raise Mismatch(f"the checkpoint's rotary positions ({share} of a head, base {base}) are not the built-in GPT's", _HINT)


def _by_head(fused: Array, outer: int, inner: int) -> Array:
    """Swap the two outermost orders of the rows: (outer, inner, rest) becomes (inner, outer, rest)."""
    columns = fused.shape[1]
    return np.ascontiguousarray(fused.reshape(outer, inner, -1, columns).swapaxes(0, 1)).reshape(-1, columns)
