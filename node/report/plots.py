"""The report's plots, as SVG for pages and PDF for papers. They need matplotlib, from the extra `plots`."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias

from ...protocol.verdict import Measurement
from ..dashboard.ledger import RoundLine
from ..errors import UserError
from .figures import EventRecord

_ACCENT, _QUIET, _INK, _GRID, _BAD = "#0a6b5e", "#8f897e", "#1d1c1a", "#e6e2da", "#a6341b"
_STYLE = {
    "svg.fonttype": "none", "svg.hashsalt": "collab-node", "pdf.fonttype": 42, "font.size": 9, "axes.edgecolor": _QUIET,
    "axes.labelcolor": _INK, "text.color": _INK, "xtick.color": _QUIET, "ytick.color": _QUIET, "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK, "axes.grid": True, "grid.color": _GRID, "axes.spines.top": False, "axes.spines.right": False,
    "legend.frameon": False, "axes.axisbelow": True,
}  # fmt: skip
_INCHES = (6.4, 3.0)
_TIME = "time (UTC)"
_SAMPLES, _BYTES = "samples", "sent together"
_UNITS = {_SAMPLES: "", _BYTES: "B"}
_COUNTED = ("peers", "commits")
_FEW = 40

Drawing: TypeAlias = Callable[[Any], None]


@dataclass(frozen=True)
class Plot:
    """One plot: the stem of its files, what it shows in a sentence, and its bytes."""

    name: str
    caption: str
    svg: bytes
    pdf: bytes


def draw_plots(record: EventRecord) -> list[Plot]:
    """Return all plots of an event. Raises UserError without matplotlib."""
    try:
        import matplotlib
    except ImportError as error:
        raise UserError("the report's plots need matplotlib", "pip install 'collab-node[plots]'") from error
    matplotlib.use("Agg")
    lines = record.ledger.lines
    timed = [line for line in lines[2:] if line.seconds]
    drawings: dict[str, tuple[str, Drawing]] = {
        "loss-time": ("Loss against time.", _loss(record, _moment, _TIME)),
        "loss-samples": ("Loss against samples.", _loss(record, lambda line: line.total_samples, _SAMPLES)),
        "loss-bytes": ("Loss against bytes sent.", _loss(record, lambda line: line.total_size, _BYTES)),
        "contributors-time": ("Contributors whose work was merged.", _steps(lines[1:], lambda line: line.contributors, "peers")),
        "throughput-time": ("Throughput of all together.", _steps(timed, lambda line: line.samples / line.seconds, "samples/s")),
        "versions-time": ("Versions of the model, and its releases.", _versions(record)),
    }
    if any(record.results(gate.name) for gate in record.event.gate):
        drawings["gates-time"] = ("What the gates showed of each commit.", _gates(record))
    with matplotlib.rc_context(_STYLE):
        return [_plot(name, caption, draw) for name, (caption, draw) in drawings.items()]


def _plot(name: str, caption: str, draw: Drawing) -> Plot:
    from matplotlib.figure import Figure

    figure = Figure(figsize=_INCHES, layout="constrained")
    draw(figure.add_subplot())
    files = []
    for kind, metadata in (("svg", {"Date": None, "Title": caption}), ("pdf", {"CreationDate": None, "Title": caption})):
        file = io.BytesIO()
        figure.savefig(file, format=kind, metadata=metadata, transparent=True)
        files.append(file.getvalue())
    return Plot(name, caption, *files)


def _loss(record: EventRecord, of: Callable[[RoundLine], Any], label: str) -> Drawing:
    trained = [line for line in record.ledger.lines if line.loss is not None]
    measured = [line for line in record.ledger.lines if line.round in record.measured]

    def draw(axes: Any) -> None:
        axes.plot([of(line) for line in trained], [line.loss for line in trained], color=_QUIET, linewidth=1.2, label="training")
        if measured:
            losses = [record.measured[line.round] for line in measured]
            dots = "." if len(losses) < _FEW else ""
            axes.plot([of(line) for line in measured], losses, dots + "-", color=_ACCENT, linewidth=1.8, label="held-out")
        axes.set_ylabel("loss (nats a token)")
        axes.set_xlabel(label)
        axes.legend()
        if label == _TIME:
            _write_dates(axes)
        else:
            _write_amounts(axes, _UNITS[label])

    return draw


def _steps(lines: Sequence[RoundLine], of: Callable[[RoundLine], float], label: str) -> Drawing:
    def draw(axes: Any) -> None:
        axes.step([_moment(line) for line in lines], [of(line) for line in lines], where="post", color=_ACCENT, linewidth=1.5)
        axes.set_ylabel(label)
        axes.set_xlabel(_TIME)
        axes.set_ylim(bottom=0)
        if label in _COUNTED:
            axes.yaxis.get_major_locator().set_params(integer=True)
        _write_dates(axes)

    return draw


def _versions(record: EventRecord) -> Drawing:
    lines = record.ledger.lines
    draw_steps = _steps(lines, lambda line: line.round, "commits")
    at = {line.round: line for line in lines}

    def draw(axes: Any) -> None:
        draw_steps(axes)
        for opened in record.released.releases:
            line = at.get(opened.release.round)
            if line is not None:
                axes.plot([_moment(line)], [line.round], "o", color=_INK, markersize=4)
                place = {"xytext": (-6, 4), "textcoords": "offset points", "ha": "right"}
                axes.annotate(opened.release.version, (_moment(line), line.round), **place)

    return draw


def _gates(record: EventRecord) -> Drawing:
    """Draw a row a gate: a dot where it passed, a ring where that was not clear, a cross where it failed."""
    marks: dict[str, tuple[str, dict[str, Any]]] = {
        "passed": ("o", {"color": _ACCENT}),
        "passed, not clear": ("o", {"color": _ACCENT, "markerfacecolor": "none"}),
        "failed": ("X", {"color": _BAD}),
    }

    def draw(axes: Any) -> None:
        names = [gate.name for gate in record.event.gate if record.results(gate.name)]
        for what, (mark, style) in marks.items():
            points = [
                (_moment(line), row) for row, name in enumerate(names) for line, found in record.results(name)
                if _outcome(found) == what
            ]  # fmt: skip
            if points:
                times, rows = zip(*points, strict=True)
                axes.plot(times, rows, mark, markersize=4, label=what, **style)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_xlabel(_TIME)
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(marks))
        _write_dates(axes)

    return draw


def _outcome(found: Measurement) -> str:
    if not found.passed:
        return "failed"
    return "passed, not clear" if found.reason == "unclear" else "passed"


def _write_dates(axes: Any) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator()
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))


def _write_amounts(axes: Any, unit: str) -> None:
    """Write such as 40M, or 12 MB: numbers of any size in few letters."""
    from matplotlib.ticker import EngFormatter

    axes.xaxis.set_major_formatter(EngFormatter(unit=unit, sep=" " if unit else ""))


def _moment(line: RoundLine) -> datetime:
    return datetime.fromtimestamp(line.time, UTC)
