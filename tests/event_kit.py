"""The shortest event: a draft's fields, for a test to change those that it is about."""

from __future__ import annotations

from typing import Any

from collab.protocol.event import Admission, Compression, Data, GptModel, InnerOptimiser, Merge, OuterOptimiser, Rounds

TINY = GptModel(family="gpt", layers=1, width=16, heads=2)


def draft_fields(**changes: Any) -> dict[str, Any]:
    """Return the fields of an EventDraft (defaults, a tiny model, the standard library's text), and `changes`."""
    return {
        "name": "test", "model": TINY, "data": Data(source="stdlib"), "inner": InnerOptimiser(), "compression": Compression(),
        "outer": OuterOptimiser(), "merge": Merge(), "rounds": Rounds(), "admission": Admission(), **changes,
    }  # fmt: skip
