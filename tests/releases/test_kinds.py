"""What each kind of package must hold to be published, and which gates can see it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from collab.node.errors import UserError
from collab.node.modules.kinds import check_module
from collab.protocol.gates import EventGate, ExactGate, HeadGate, LossGate
from collab.protocol.module import Module

LOSS = LossGate(name="poetry", kind="loss")
NER = HeadGate(name="ner", kind="f1", path="ner.jsonl")
EXACT = ExactGate.from_fields({"name": "facts", "kind": "exact", "cases": ({"input": "a", "output": "b"},)})
EXPERT = {"l.router.weight": (2, 4), "l.experts.1.in.weight": (8, 4), "l.experts.1.out.weight": (4, 8)}
BIASES = {"l.experts.1.in.bias": (8,), "l.experts.1.out.bias": (4,)}
CLASSES = {"classes.weight": (2, 4), "classes.bias": (2,)}
LABELS = {"labels": ["a", "b"]}
STORE = {"keys": (9, 4), "values": (9,)}


def check(kind: Any, shapes: dict[str, tuple[int, ...]], config: Any, folder: Path, *gates: EventGate) -> None:
    def tensor(name: str, shape: tuple[int, ...]) -> Tensor:
        return torch.zeros(shape, dtype=torch.int64 if name == "values" else torch.float32)

    save_file({name: tensor(name, shape) for name, shape in shapes.items()}, folder / f"{kind}.safetensors")
    (folder / f"{kind}.json").write_text(json.dumps(config))
    check_module(Module(name="it", version="1.0.0", kind=kind, gate=gates), folder)


@pytest.mark.parametrize(
    ("kind", "shapes", "config", "gates"),
    [
        ("expert", EXPERT, {"top_k": 2}, (LOSS, NER, EXACT)),
        ("expert", EXPERT | BIASES, {"top_k": 1}, ()),
        ("head", CLASSES, LABELS, (NER,)),
        ("head", {"input.weight": (9, 4)}, {}, (LOSS, NER)),
        ("head", {"output.weight": (9, 4), "output.bias": (9,)}, {}, (LOSS, EXACT)),
        ("head", CLASSES | {"output.weight": (9, 4)}, LABELS, (LOSS, NER)),
        ("datastore", STORE, {}, (LOSS, EXACT)),
        ("datastore", STORE, {"k": 9, "temperature": 0.5, "lambda": 0.9}, ()),
    ],
)
def test_a_package_that_can_be_put_into_a_base(kind: str, shapes: Any, config: Any, gates: Any, tmp_path: Path) -> None:
    check(kind, shapes, config, tmp_path, *gates)


@pytest.mark.parametrize(
    ("kind", "shapes", "config", "why"),
    [
        ("expert", {}, {"top_k": 1}, "is empty"),
        ("expert", EXPERT, {}, "top_k"),
        ("expert", EXPERT, {"top_k": 3}, "its router 2 rows, and top_k is 3"),
        ("expert", EXPERT | {"l.router.weight": (3, 4)}, {"top_k": 1}, "its router 3 rows"),
        ("expert", EXPERT | {"l.experts.1.in.weight": (8, 5)}, {"top_k": 1}, r"l\.experts\.1 is no network of width 4"),
        ("expert", EXPERT | {"l.experts.1.in.bias": (8,)}, {"top_k": 1}, r"l\.experts\.1 is no network of width 4"),
        ("expert", {name: shape for name, shape in EXPERT.items() if "router" not in name}, {"top_k": 1}, "needs a router"),
        ("expert", {"l.router.weight": (1, 4)}, {"top_k": 1}, "needs a router, and experts from 1 on"),
        ("expert", {name.replace("1", "2"): shape for name, shape in EXPERT.items()}, {"top_k": 1}, "experts from 1 on"),
        ("expert", EXPERT | {"more": (1,)}, {"top_k": 1}, "more is no part of an expert"),
        ("head", {}, {}, "is empty"),
        ("head", CLASSES, {}, "labels: one for each row"),
        ("head", CLASSES, {"labels": ["a", "a"]}, "no two alike"),
        ("head", {"classes.bias": ()}, {}, r"classes\.bias is no part of a head"),
        ("head", CLASSES | {"classes.bias": (3,)}, LABELS, r"classes\.bias is no part of a head"),
        ("head", {"output.weight": (9,)}, {}, r"output\.weight is no part of a head"),
        ("head", {"pooler": (9, 4)}, {}, "pooler is no part of a head"),
        ("head", CLASSES, {"code": "x"}, "code"),
        ("datastore", {"keys": (9, 4)}, {}, "something else than keys and as many values"),
        ("datastore", STORE | {"values": (8,)}, {}, "something else than keys and as many values"),
        ("datastore", STORE, {"k": 10}, "k is 10, and there are 9 entries"),
        ("datastore", STORE, {"lambda": 1.0}, "lambda"),
        ("datastore", STORE, {"temperature": 0}, "temperature"),
    ],
)
def test_what_could_not_be_put_into_any_base_is_refused(
    kind: str, shapes: Any, config: Any, why: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=why):
        check(kind, shapes, config, tmp_path)


def test_values_of_a_datastore_are_whole_numbers(tmp_path: Path) -> None:
    save_file({"keys": torch.zeros(9, 4), "values": torch.zeros(9)}, tmp_path / "datastore.safetensors")
    (tmp_path / "datastore.json").write_text("{}")
    with pytest.raises(UserError, match="values I32 or I64, not F32 and F32"):
        check_module(Module(name="it", version="1.0.0", kind="datastore"), tmp_path)


@pytest.mark.parametrize(
    ("kind", "shapes", "config", "gate"),
    [("head", CLASSES, LABELS, LOSS), ("head", {"output.weight": (9, 4)}, {}, NER), ("datastore", STORE, {}, NER)],
)
def test_a_gate_that_cannot_see_what_a_package_changes_is_refused(
    kind: str, shapes: Any, config: Any, gate: EventGate, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=f"gate {gate.name} is about the base's (scores|features), which this {kind} leaves"):
        check(kind, shapes, config, tmp_path, gate)
