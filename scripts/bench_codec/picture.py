"""Loss against bytes, as a PNG: a panel an event."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .labels import Labels
from .settings import DENSE_NAME, FULL_BITS, MUON, RECIPE_NAME, TITLES

Row = Mapping[str, Any]

_INK, _QUIET, _GRID = "#1f2933", "#66727f", "#e4e7eb"
_BLUE, _SKY, _RED, _GREEN = "#1257a3", "#3f9bdc", "#c2410c", "#1b7f4b"
_STYLE = {
    "font.size": 10, "axes.edgecolor": _QUIET,
    "text.color": _INK, "axes.labelcolor": _INK, "xtick.color": _INK, "ytick.color": _INK,
}  # fmt: skip
_GOAL = 0.01
"""How far from dense averaging the goal lies, as a share of its loss."""


@dataclass(frozen=True)
class Family:
    """Settings that are drawn alike; `joined` by a line in the order of their bytes."""

    label: str
    colour: str
    marker: str
    joined: bool = False


_FAMILIES = {
    "muon": Family("this codec, 1 bit, trained with Muon", _GREEN, "o", joined=True),
    "one bit": Family("this codec, 1 bit a value", _BLUE, "o", joined=True),
    "two bits": Family("this codec, 2 bits", _SKY, "o", joined=True),
    "more bits": Family("this codec, 3 and 4 bits", _SKY, "^"),
    "published": Family("published sparse recipe", _RED, "D"),
    "others": Family("other formats", _QUIET, "s"),
}
_BITS = {1: "one bit", 2: "two bits"}


@dataclass(frozen=True)
class Point:
    """One setting: bits a parameter and round, and end losses, ascending, of its seeds."""

    name: str
    k: int | None
    value_bits: int | None
    rate: float
    losses: tuple[float, ...]

    @classmethod
    def of(cls, rows: Sequence[Row]) -> Point:
        """From the rows of one setting."""
        rate = statistics.fmean(row["bits_per_parameter"] for row in rows)
        losses = tuple(sorted(row["end_loss"] for row in rows))
        return cls(rows[0]["name"], rows[0]["k"], rows[0]["bits"], rate, losses)

    @property
    def loss(self) -> float:
        return statistics.median(self.losses)

    @property
    def family(self) -> str | None:
        """None for a variation of the recipe: those are told apart by a table, not by their bytes."""
        if self.name.startswith("sparse ") and self.name.endswith(MUON):
            return "muon"
        if self.name.startswith("sparse "):
            return _BITS.get(self.value_bits or 0, "more bits")
        if self.name.startswith("plain "):
            return "published"
        return "others" if self.name.startswith(("dense ", "sign", "raw ")) else None

    @property
    def label(self) -> str:
        if self.name == RECIPE_NAME:
            return f"k = {self.k}: the recipe"
        if self.family in ("muon", "one bit", "two bits"):
            return f"k = {self.k}"
        return self.name.removeprefix("plain ").removeprefix("sparse ").replace("raw 12-bit positions", "raw positions")


def draw(rows: Sequence[Row], path: Path) -> None:
    """Draw end loss against bits a parameter: a point a setting, its bar from the lowest to the highest seed.

    ImportError without matplotlib.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    events = list(dict.fromkeys(row["event"] for row in rows))
    with pyplot.rc_context(_STYLE):
        figure, panels = pyplot.subplots(1, len(events), figsize=(6.6 * len(events), 5), squeeze=False, layout="constrained")
        drawn = [points_of([row for row in rows if row["event"] == event]) for event in events]
        for panel, event, points in zip(panels[0], events, drawn, strict=True):
            _plot(panel, TITLES.get(event, event), points)
        figure.draw_without_rendering()  # labels go where there is room, so all else has its place first
        for panel, points in zip(panels[0], drawn, strict=True):
            _label(panel, points)
        figure.savefig(path, dpi=110, pil_kwargs={"optimize": True})
        pyplot.close(figure)


def points_of(rows: Sequence[Row]) -> list[Point]:
    """What is drawn of an event, in the order of bytes."""
    by_name: dict[str, list[Row]] = {}
    for row in rows:
        by_name.setdefault(row["name"], []).append(row)
    points = [Point.of(found) for found in by_name.values()]
    return sorted((point for point in points if point.family), key=lambda point: point.rate)


def _plot(panel: Any, title: str, points: Sequence[Point]) -> None:
    for key, family in _FAMILIES.items():
        members = [point for point in points if point.family == key]
        if members:
            _family(panel, family, members)
    for point in points:
        if point.name == DENSE_NAME + MUON:
            _goal(panel, point.loss)
        if point.name == RECIPE_NAME:
            panel.plot(point.rate, point.loss, "o", color=_GREEN, markersize=13, fillstyle="none", zorder=3)
    _axes(panel, title)


def _family(panel: Any, family: Family, points: Sequence[Point]) -> None:
    spread = [[point.loss - point.losses[0] for point in points], [point.losses[-1] - point.loss for point in points]]
    panel.errorbar(
        [point.rate for point in points], [point.loss for point in points], spread,
        fmt=family.marker, linestyle="-" if family.joined else "none", color=family.colour, label=family.label,
        markersize=6, linewidth=1.3, elinewidth=1.2, capsize=3, zorder=3,
    )  # fmt: skip


def _goal(panel: Any, dense: float) -> None:
    around = (dense * (1 - _GOAL), dense * (1 + _GOAL))
    panel.axhspan(*around, color=_GRID, alpha=0.8, linewidth=0, zorder=0, label="dense averaging with Muon ± 1%")
    panel.axhline(dense, color=_QUIET, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)


def _axes(panel: Any, title: str) -> None:
    from matplotlib.ticker import LogLocator, NullLocator

    panel.set_xscale("log")
    panel.margins(x=0.08, y=0.12)
    panel.set_xlabel("bits a parameter, worker and round")
    panel.set_ylabel("held-out loss at the end, nats a token")
    # Matplotlib tries a scale from zero first.
    above = panel.secondary_xaxis("top", functions=(lambda bits: FULL_BITS / np.maximum(bits, 1e-9),) * 2)
    above.set_xlabel("times fewer bytes than fp16", color=_QUIET)
    above.tick_params(colors=_QUIET)
    for axis in (panel.xaxis, above.xaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(lambda value, _: f"{value:g}")
    panel.set_title(title, loc="left", fontweight="bold", fontsize=11)
    panel.grid(color=_GRID, linewidth=0.7)
    panel.set_axisbelow(True)
    panel.spines["right"].set_visible(False)
    panel.legend(frameon=False, fontsize=9, loc="best")


def _label(panel: Any, points: Sequence[Point]) -> None:
    labels = Labels(panel, [(point.rate, loss) for point in points for loss in point.losses])
    for point in sorted(points, key=lambda point: point.name != RECIPE_NAME):
        weight = "bold" if point.name == RECIPE_NAME else "normal"
        colour = _FAMILIES[point.family or "others"].colour
        labels.place(point.label, point.rate, point.loss, fontsize=8.5, color=colour, fontweight=weight, zorder=4)
