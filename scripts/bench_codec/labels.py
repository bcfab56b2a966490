"""Labels beside the points of a plot, where there is room."""

from __future__ import annotations

from typing import Any

_PLACES = (
    (6, 4, "left", "bottom"), (-6, -4, "right", "top"), (0, 7, "center", "bottom"), (0, -7, "center", "top"),
    (8, 0, "left", "center"), (-8, 0, "right", "center"), (6, -4, "left", "top"), (-6, 4, "right", "bottom"),
)  # fmt: skip
"""Points to the right and up, and the text's anchor; the first that is free is taken."""

_ROOM = 5.0
"""Pixels around a marker that stay free."""


class Labels:
    """One panel's. Its limits are fixed and the figure is laid out before anything is placed."""

    def __init__(self, panel: Any, taken: list[tuple[float, float]]) -> None:
        """`taken`: points, in the panel's data, that no label may cover."""
        from matplotlib.patheffects import withStroke
        from matplotlib.transforms import Bbox

        self._panel = panel
        self._halo = [withStroke(linewidth=2.5, foreground="white", alpha=0.85)]
        self._boxes = [
            Bbox.from_extents(x - _ROOM, y - _ROOM, x + _ROOM, y + _ROOM) for x, y in map(panel.transData.transform, taken)
        ]
        if legend := panel.get_legend():
            self._boxes.append(legend.get_window_extent())

    def place(self, text: str, x: float, y: float, **style: Any) -> None:
        """Write the text beside a point. Nothing is written where there is no room."""
        for right, up, across, along in _PLACES:
            label = self._panel.annotate(
                text, (x, y), xytext=(right, up), textcoords="offset points", ha=across, va=along,
                path_effects=self._halo, **style,
            )  # fmt: skip
            box = label.get_window_extent()
            inside = self._panel.bbox.containsx(box.x0) and self._panel.bbox.containsx(box.x1)
            if inside and not any(box.overlaps(other) for other in self._boxes):
                self._boxes.append(box)
                return
            label.remove()
