"""Our ALBERT as `AlbertForMaskedLM`.

Theirs has an embedding of token types, which ours has not: it is written as zeros, and what a checkpoint has for type 0 is added
to the positions when it is read. Query, key and value are one matrix here and three there. The pooler and the head for sentence
order, which a pre-trained checkpoint may have, are no part of a masked language model and are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from ...protocol.event import AlbertModel
from .counterpart import Array, Arrays, Counterpart, Mismatch, take

_EMBEDDINGS = "albert.embeddings."
_LAYER = "albert.encoder.albert_layer_groups.0.albert_layers.0."
_ACTIVATIONS = ("gelu_new", "gelu_pytorch_tanh")
_POSITIONS = _EMBEDDINGS + "position_embeddings.weight"
_TYPES = _EMBEDDINGS + "token_type_embeddings.weight"
_PARTS = ("query", "key", "value")


def albert(model: AlbertModel, block: int) -> Counterpart:
    """Return the counterpart of a model for blocks of `block` tokens."""
    config = {
        "architectures": ["AlbertForMaskedLM"], "model_type": "albert", "vocab_size": model.vocabulary,
        "embedding_size": model.embedding, "hidden_size": model.width, "num_hidden_layers": model.layers,
        "num_hidden_groups": 1, "inner_group_num": 1, "num_attention_heads": model.heads,
        "intermediate_size": model.feed_forward, "hidden_act": _ACTIVATIONS[0], "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0, "classifier_dropout_prob": 0.0, "max_position_embeddings": block,
        "type_vocab_size": 1, "initializer_range": 0.02, "layer_norm_eps": 1e-12, "tie_word_embeddings": True,
        "dtype": "float32", "torch_dtype": "float32",
    }  # fmt: skip
    fixed = (
        "model_type", "vocab_size", "embedding_size", "hidden_size", "num_hidden_layers", "num_hidden_groups", "inner_group_num",
        "num_attention_heads", "intermediate_size", "layer_norm_eps",
    )  # fmt: skip
    return Counterpart(config, fixed, _outwards, partial(_inwards, block))


def _names(model_layer: str) -> dict[str, str]:
    """Our names of what is the same tensor there, with theirs."""
    pairs = {
        "tokens": _EMBEDDINGS + "word_embeddings", "embedding_norm": _EMBEDDINGS + "LayerNorm",
        "embedding_out": "albert.encoder.embedding_hidden_mapping_in", "layer.attention_out": model_layer + "attention.dense",
        "layer.attention_norm": model_layer + "attention.LayerNorm", "layer.feed_forward_in": model_layer + "ffn",
        "layer.feed_forward_out": model_layer + "ffn_output", "layer.feed_forward_norm": model_layer + "full_layer_layer_norm",
        "head_in": "predictions.dense", "head_norm": "predictions.LayerNorm",
    }  # fmt: skip
    named = {f"{ours}.{kind}": f"{theirs}.{kind}" for ours, theirs in pairs.items() for kind in ("weight", "bias")}
    del named["tokens.bias"]
    return {**named, "head_bias": "predictions.bias"}


_NAMES = _names(_LAYER)


def _outwards(ours: Arrays) -> dict[str, Array]:
    positions = ours["positions.weight"]
    theirs = {their: ours[our] for our, their in _NAMES.items()}
    for kind in ("weight", "bias"):
        for part, piece in zip(_PARTS, np.split(ours[f"layer.attention_in.{kind}"], 3), strict=True):
            theirs[f"{_LAYER}attention.{part}.{kind}"] = np.ascontiguousarray(piece)
    return {**theirs, _POSITIONS: positions, _TYPES: np.zeros((1, positions.shape[1]), np.float32)}


def _inwards(block: int, theirs: Arrays, config: Mapping[str, Any]) -> dict[str, Array]:
    if config.get("hidden_act", _ACTIVATIONS[0]) not in _ACTIVATIONS:
        raise Mismatch(f"the checkpoint's activation is {config['hidden_act']!r}, ours is {_ACTIVATIONS[0]}")
    ours = {our: take(theirs, their) for our, their in _NAMES.items()}
    for kind in ("weight", "bias"):
        pieces = [take(theirs, f"{_LAYER}attention.{part}.{kind}") for part in _PARTS]
        ours[f"layer.attention_in.{kind}"] = np.concatenate(pieces)
    ours["positions.weight"] = _positions(block, theirs)
    return ours


def _positions(block: int, theirs: Arrays) -> Array:
    """Return the first `block` positions, with type 0's embedding added."""
    positions = take(theirs, _POSITIONS)
    if len(positions) < block:
        problem = f"the checkpoint knows {len(positions)} positions, the event's blocks have {block} tokens"
        raise Mismatch(problem, "lower data.block in the event file")
    return positions[:block] + theirs[_TYPES][0] if _TYPES in theirs else positions[:block]
