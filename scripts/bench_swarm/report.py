"""The figures as tables for people."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from collab.node.units import bytes_text

from .plan import VARIANTS

_LABELS = {"single": "one node, same steps", "single_same_samples": "one node, same samples"}
# A few short rounds say nothing of where training leads, nor of what a round costs.
_NEED_TIME = ("loss_above_dense", "loss_below_single", "overhead_share")
TextOf = Callable[[float], str]


def report(figures: Mapping[str, Any]) -> RenderableType:
    """Return both tables and what they mean."""
    about = (
        f"{figures['nodes']} nodes, {figures['rounds']} rounds of {figures['steps']} inner steps, "
        f"{figures['parameters']:,} parameters, {figures['cores']} cores; medians of {figures['runs']} runs (lowest–highest)"
    )
    return Group(Text(about), _variants(figures), _goals(figures))


def _variants(figures: Mapping[str, Any]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    for heading in ("held-out loss", "samples", "sent a node and round", "all bytes sent", "seconds"):
        table.add_column(heading, justify="right")
    for name in VARIANTS:
        found = figures[name]
        table.add_row(
            _LABELS.get(name, name),
            _cell(found, "loss", lambda value: f"{value:.3f}"),
            f"{found['samples']:,.0f}",
            bytes_text(found["bytes_per_node_round"]),
            bytes_text(found["network_bytes_per_node_round"]),
            _cell(found, "seconds", lambda value: f"{value:.1f}"),
        )
    return table


def _goals(figures: Mapping[str, Any]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading, side in (("measured", "left"), ("median (lowest–highest)", "right"), ("goal", "left"), ("", "left")):
        table.add_column(heading, justify="right" if side == "right" else "left")
    rows: list[tuple[str, str, TextOf, str, bool]] = [
        ("loss above dense", "loss_above_dense", _percent, "≤ 5%", figures["loss_above_dense"] <= 0.05),
        ("loss below one node, same steps", "loss_below_single", _percent, "> 0", figures["loss_below_single"] > 0),
        ("fp16 bytes / bytes sent", "fp16_bytes_ratio", lambda value: f"{value:.1f}", "≥ 30", figures["fp16_bytes_ratio"] >= 30),
        ("round overhead", "overhead_share", _percent, "< 15%", figures["overhead_share"] < 0.15),
        ("join to first step", "join_seconds", lambda value: f"{value:.1f} s", "< 10 s", figures["join_seconds"] < 10),
        ("idle daemon, of one core", "idle_cpu_share", _percent, "< 2%", figures["idle_cpu_share"] < 0.02),
        ("idle with its children", "idle_cpu_share_with_children", _percent, "", True),
    ]
    for label, name, text_of, goal, reached in rows:
        verdict = Text("too short to say", style="dim") if figures["quick"] and name in _NEED_TIME else _verdict(reached)
        table.add_row(label, _cell(figures, name, text_of), goal, verdict if goal else "")
    equal = bool(figures["state_hashes_equal"])
    table.add_row("state hashes equal", "yes" if equal else "no", "yes", _verdict(equal))
    return table


def _verdict(reached: bool) -> Text:
    return Text("reached", style="green") if reached else Text("missed", style="red")


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%"


def _cell(figures: Mapping[str, Any], name: str, text_of: TextOf) -> str:
    low, high = figures[f"{name}_spread"]
    middle = text_of(figures[name])
    return middle if low == high else f"{middle} ({text_of(low)}–{text_of(high)})"
