"""Committed bytes: version 1 of the format and the merge arithmetic must never change under anybody's history.

Inputs are given by a formula in integers and float64, so that other implementations can use the file.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from collab import kernels
from collab.kernels import Codec, Layout
from collab.kernels.merge import METHODS, Contribution, merge

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent / "vectors.json").read_text())
SHAPES: dict[str, list[int]] = VECTORS["shapes"]
CODECS = (
    Codec("sparse", 16, 1),
    Codec("sparse", 64, 2),
    Codec("sparse", 96, 3, dense_below=6),
    Codec("sparse", 256, 4, tensors=(("norm", 512),)),
    Codec("sparse", 64, 8, tensors=(("weight", 512), ("*", 0))),
    Codec("fp16"),
)


def values(seed: int) -> dict[str, torch.Tensor]:
    """x = (((at · 2654435761 + seed · 40503) mod 2³²) − 2³¹) / 2³¹, cubed, for the at-th element of all tensors."""
    tensors, first = {}, 0
    for name, shape in SHAPES.items():
        at = torch.arange(torch.Size(shape).numel(), dtype=torch.int64) + first
        x = ((at * 2654435761 + seed * 40503) % (1 << 32) - (1 << 31)).double() / float(1 << 31)
        tensors[name] = (x * x * x).float().view(shape)
        first += at.numel()
    return tensors


def fingerprint(tensors: dict[str, torch.Tensor]) -> str:
    """SHA-256 of the little-endian float32 bytes, tensors in order of name."""
    return hashlib.sha256(b"".join(tensors[name].numpy().astype("<f4").tobytes() for name in sorted(tensors))).hexdigest()


def current() -> dict[str, Any]:
    """What this implementation computes, in the shape of vectors.json."""
    layout = Layout.of(values(0))
    patches, merges = [], {}
    for codec in CODECS:
        payload, left = kernels.compress(values(1), values(2), codec)
        squares = {name: tensor * tensor for name, tensor in values(3).items()}
        patches.append(
            {
                "kind": codec.kind,
                "value_bits": codec.value_bits,
                "densities": list(codec.densities(layout)),
                "payload": payload.hex() if codec.kind == "sparse" else None,
                "payload_sha256": hashlib.sha256(payload).hexdigest(),
                "decoded_sha256": fingerprint(kernels.decompress(payload, layout)),
                "residual_sha256": fingerprint(left),
                "norm": kernels.inspect(payload, layout).norm.hex(),
                "fisher_4_bits_sha256": hashlib.sha256(kernels.compress_on_support(squares, payload)).hexdigest(),
                "fisher_8_bits_sha256": hashlib.sha256(kernels.compress_on_support(squares, payload, bits=8)).hexdigest(),
            }
        )
    for codec in (Codec("sparse", 256, 2), Codec("fp16")):
        contributions = []
        for seed, weight, clip in ((10, 0.5, 1.0), (20, 0.25, 0.75), (30, 0.2, 1.0)):
            patch, _ = kernels.compress(values(seed), None, codec)
            squares = {name: tensor * tensor for name, tensor in values(seed + 1).items()}
            contributions.append(Contribution(patch, weight, clip, kernels.compress_on_support(squares, patch)))
        for method in METHODS:
            merged = merge(method, layout, contributions, cap=0.4, damping=0.1)
            merges[f"{method}, {codec.kind}"] = fingerprint(merged)
    return {"shapes": SHAPES, "layout_digest": layout.digest().hex(), "patches": patches, "merges": merges}


@pytest.mark.parametrize("part", ["shapes", "layout_digest", "patches", "merges"])
def test_bytes_are_those_committed(part: str) -> None:
    assert current()[part] == VECTORS[part]


def test_committed_payloads_decode() -> None:
    layout = Layout.of(values(0))
    for patch in VECTORS["patches"]:
        if patch["payload"]:
            decoded = kernels.decompress(bytes.fromhex(patch["payload"]), layout)
            assert fingerprint(decoded) == patch["decoded_sha256"]


if __name__ == "__main__":  # a new version of the format: write down its vectors
    (Path(__file__).parent / "vectors.json").write_text(json.dumps(current(), indent=1) + "\n")
