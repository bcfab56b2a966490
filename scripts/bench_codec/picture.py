"""Loss against bytes, as a PNG."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Row = Mapping[str, Any]


def draw(rows: Sequence[Row], path: Path) -> None:
    """Draw a panel an event: a point a setting, its bar from the lowest to the highest seed. ImportError without matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    events = list(dict.fromkeys(row["event"] for row in rows))
    figure, panels = pyplot.subplots(1, len(events), figsize=(7.5 * len(events), 5), squeeze=False, layout="constrained")
    for panel, event in zip(panels[0], events, strict=True):
        _panel(panel, event, [row for row in rows if row["event"] == event])
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def _panel(panel: Any, event: str, rows: Sequence[Row]) -> None:
    by_name: dict[str, list[Row]] = {}
    for row in rows:
        by_name.setdefault(row["name"], []).append(row)
    for name, found in sorted(by_name.items(), key=lambda item: item[1][0]["bits_per_parameter"]):
        rate = statistics.fmean(row["bits_per_parameter"] for row in found)
        losses = [row["end_loss"] for row in found]
        middle = statistics.median(losses)
        ours = name.startswith("sparse")
        error = [[middle - min(losses)], [max(losses) - middle]]
        panel.errorbar(rate, middle, error, fmt="o" if ours else "s", color="tab:blue" if ours else "tab:gray", capsize=3)
        panel.annotate(name, (rate, middle), xytext=(5, 5), textcoords="offset points", fontsize=7.5)
    panel.set_xscale("log")
    panel.set_xlabel("bits a parameter and round")
    panel.set_ylabel("held-out loss at the end, nats a token")
    panel.set_title(event)
    panel.grid(alpha=0.25)
    panel.spines[["top", "right"]].set_visible(False)
