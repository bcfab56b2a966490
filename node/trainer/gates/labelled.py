"""Labelled texts for a head: a JSONL file in the data folder, split by the texts' hashes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import torch
from torch import Tensor

from ....protocol.gates import HeadGate
from ..data.corpus import is_held_out
from ..data.document import inside
from ..data.tokenizer import Tokenizer
from ..errors import WorkerError
from .version import Version

MOST_TRAINED = 1024
_AT_ONCE = 32
_MOST_ROWS = 65536
_MOST_LINE_BYTES = 1 << 20
_MOST_CLASSES = 256

Row = tuple[str, str]
"""A text and its label."""


class Labelled:
    """`trained` and `tested` are rows; `classes` all labels, sorted."""

    def __init__(self, rows: Sequence[Row], tokenizer: Tokenizer, block: int) -> None:
        self._tokenizer = tokenizer
        self._block = block
        self.classes = sorted({label for _, label in rows})
        self.tested = [row for row in rows if is_held_out(hashlib.sha256(row[0].encode()).digest(), 0.5)]
        tested = set(self.tested)
        self.trained = [row for row in rows if row not in tested][:MOST_TRAINED]

    @classmethod
    def read(cls, gate: HeadGate, folder: Path, tokenizer: Tokenizer, block: int) -> Labelled:
        """Read the gate's file. Raises WorkerError: "no_data", "bad_data"."""
        path = inside(folder, gate.path)
        if not path.is_file():
            raise WorkerError("no_data", f"gate {gate.name}: no file {path}: put it there")
        found = cls(list(dict.fromkeys(_rows(gate, path))), tokenizer, block)
        if not 2 <= len(found.classes) <= _MOST_CLASSES or not found.trained or not found.tested:
            needs = f"2 to {_MOST_CLASSES} different labels, and texts to train on and to test on"
            raise WorkerError("bad_data", f"gate {gate.name}: {path.name} needs {needs}")
        return found

    def features(self, version: Version, texts: Sequence[str]) -> Tensor:
        """Return the mean of the hidden states of each text's first block, (texts, width), in float64 on the CPU."""
        ids = [list(map(int, found))[: self._block] for found in self._tokenizer.encode([text.encode() for text in texts])]
        ids = [found or [self._tokenizer.separator] for found in ids]
        pooled: list[Tensor | None] = [None] * len(ids)
        for places in _by_length(ids):
            hidden = version.hidden(torch.tensor([ids[at] for at in places])).mean(1).double().cpu()
            for at, row in zip(places, hidden, strict=True):
                pooled[at] = row
        return torch.nan_to_num(torch.stack([row for row in pooled if row is not None]))


def _rows(gate: HeadGate, path: Path) -> Iterator[Row]:
    with path.open("rb") as file:
        for number in range(1, _MOST_ROWS + 1):
            line = file.readline(_MOST_LINE_BYTES)
            if not line:
                return
            if not line.isspace():
                yield _row(gate, line, f"gate {gate.name}: {path.name}, line {number}")


def _row(gate: HeadGate, line: bytes, where: str) -> Row:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise WorkerError("bad_data", f"{where} is not JSON") from error
    text, label = (row.get(gate.field), row.get(gate.label)) if isinstance(row, dict) else (None, None)
    if not isinstance(text, str) or not isinstance(label, str | int) or isinstance(label, bool):
        raise WorkerError("bad_data", f"{where} needs text in {gate.field!r} and text or a whole number in {gate.label!r}")
    return text, str(label)


def _by_length(ids: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Yield the positions of sequences that are equally long, a few at a time: nothing has to be padded."""
    order = sorted(range(len(ids)), key=lambda at: len(ids[at]))
    for _, alike in groupby(order, key=lambda at: len(ids[at])):
        places = list(alike)
        yield from (places[start : start + _AT_ONCE] for start in range(0, len(places), _AT_ONCE))
