"""How a node shows itself while it runs: a live panel on a terminal, a log line for each thing that happens without one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Protocol

import structlog
from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from .options import Display as DisplayChoice
from .units import bytes_text, loss_text, seconds_text, short
from .view import NodeView

_PERIOD = 0.25
_BAR_WIDTH = 24
_WIDTH = 80

log = structlog.get_logger()


class Display(AbstractContextManager["Display"], Protocol):
    """Shows views until it is closed."""

    def show(self, view: NodeView) -> None:
        """Show the node as it is now."""


def make_display(choice: DisplayChoice, log_format: str, console: Console | None = None) -> Display:
    """Return what fits: live on a terminal whose log is text, else plain, unless the person chose."""
    console = console or Console(stderr=True)
    live = choice == "live" or (choice == "auto" and console.is_terminal and log_format == "text")
    return LiveDisplay(console) if live else PlainDisplay()


async def run_display(display: Display, read: Callable[[], NodeView]) -> None:
    """Show what `read` returns four times a second, until cancelled."""
    while True:
        display.show(read())
        await asyncio.sleep(_PERIOD)


class LiveDisplay:
    """A panel that stays in its place; log lines go past above it."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, auto_refresh=False)

    def __enter__(self) -> LiveDisplay:
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._live.stop()

    def show(self, view: NodeView) -> None:
        """Draw the panel anew."""
        self._live.update(render(view), refresh=True)


class PlainDisplay:
    """Logs what changed between two views."""

    def __init__(self) -> None:
        self._last: NodeView | None = None

    def __enter__(self) -> PlainDisplay:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return

    def show(self, view: NodeView) -> None:
        """Log what happened since the last view."""
        for event, values in changes(self._last, view):
            log.info(event, **{name: value for name, value in values.items() if value is not None})
        self._last = view


def changes(before: NodeView | None, after: NodeView) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (event, fields) for every change that is worth a line of log; the end of a round is its commit's."""
    if before is None:
        yield "node", {"name": after.event, "peer": after.peer, "round": after.round, "metrics_port": after.metrics_port}
    if after.commit and (before is None or after.commit != before.commit):
        yield "commit", {
            "round": after.round, "commit": short(after.commit), "contributors": after.contributors,
            "share": after.share, "held_out_loss": after.held_out_loss,
        }  # fmt: skip
    if after.phase != "final" and (before is None or after.phase != before.phase):
        message = after.message if after.message != after.phase else None
        yield after.phase, {"round": after.round + 1, "loss": after.loss, "message": message}
    if before is not None and after.peers != before.peers:
        yield "peers", {"peers": after.peers, "gossip": after.gossip_peers}
    if before is not None and after.restarts > before.restarts:
        yield "restarted", {"restarts": after.restarts}


def render(view: NodeView) -> RenderableType:
    """Return the panel of a node: at most ten lines of 80 columns."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(no_wrap=True, overflow="ellipsis")
    for label, value in _rows(view):
        grid.add_row(label, value)
    title = Text.assemble((view.event, "bold"), " · ", f"{view.peer[:8]}…{view.peer[-6:]}" if view.peer else "")
    return Panel(Group(grid), title=title, title_align="left", box=box.ROUNDED, width=_WIDTH)


def _rows(view: NodeView) -> Iterator[tuple[str, RenderableType]]:
    yield "phase", _phase(view)
    if view.running:
        yield from _activity(view)
    yield "commit", _commit(view)
    restarts = f" ({view.restarts} restarts)" if view.restarts else ""
    yield "", Text(view.message + restarts)


def _activity(view: NodeView) -> Iterator[tuple[str, RenderableType]]:
    yield "step", _steps(view)
    yield "loss", Text(f"{loss_text(view.loss)} training · {loss_text(view.held_out_loss)} held-out")
    yield "speed", Text(f"{view.tokens_per_second:,.0f} tokens/s · {view.samples:,} samples · {view.device or 'no device'}")
    yield "peers", Text(f"{view.peers} · {view.gossip_peers} in gossip")
    yield "traffic", Text(f"{bytes_text(view.bytes_sent)} up · {bytes_text(view.bytes_received)} down")


def _phase(view: NodeView) -> Text:
    left = "" if view.phase_seconds_left is None else f" · {seconds_text(view.phase_seconds_left)} left"
    running = f"round {view.round + 1} · {view.phase.replace('_', ' ')}{left}"
    return Text(running if view.running else f"not running · round {view.round}", style="bold")


def _steps(view: NodeView) -> RenderableType:
    if not view.trains:
        return Text("does not train")
    if not view.steps:
        return Text("-")
    row = Table.grid(padding=(0, 1))
    bar = ProgressBar(total=view.steps, completed=min(view.step, view.steps), width=_BAR_WIDTH)
    row.add_row(f"{view.step}/{view.steps}", bar)
    return row


def _commit(view: NodeView) -> Text:
    if not view.commit:
        return Text("none yet")
    share = "" if view.share is None else f" · your share {view.share:.1%}"
    made = f"{view.contributors} contributors{share}" if view.round else "the event's first weights"
    return Text(f"{short(view.commit)} · round {view.round} · {made}")
