"""What `scripts/fuzz codec` does with an input, tried with random ones."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest
from native_kit import ALL

from collab.kernels import Backend, Buffer, Layout, PayloadError
from collab.kernels.native import Native
from collab.kernels.reference import Reference
from collab.kernels.seam import Entries

sys.path.append(str(Path(__file__).parents[2] / "scripts"))  # which is no package's folder

from fuzz_codec.target import Disagreement, run


class Random:
    """As much of atheris's FuzzedDataProvider as the target asks for."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def ConsumeIntInRange(self, low: int, high: int) -> int:
        return self._random.randint(low, high)

    def ConsumeBool(self) -> bool:
        return self._random.random() < 0.5

    def ConsumeBytes(self, count: int) -> bytes:
        return self._random.randbytes(count)


class TooKind(Reference):
    """Takes what it should refuse."""

    def entries(self, payload: Buffer, layout: Layout) -> dict[str, Entries]:
        try:
            return super().entries(payload, layout)
        except PayloadError:
            return {}


def run_many(backend: Backend) -> None:
    for seed in range(300):
        run(Random(seed), backend)


@pytest.mark.parametrize("instructions", ALL)
def test_backends_agree(instructions: str) -> None:
    run_many(Native(instructions=instructions))


def test_a_backend_that_takes_more_is_found() -> None:
    with pytest.raises(Disagreement):
        run_many(TooKind())
