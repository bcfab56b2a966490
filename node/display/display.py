"""How a node shows itself while it runs: a live panel on a terminal, a log line for each thing that happens without one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Protocol

import structlog
from rich.console import Console, Group, RenderableType
from rich.control import Control
from rich.live import Live
from rich.text import Text

from ..options import Display as DisplayChoice
from ..units import short
from .panel import render
from .view import NodeView

_PERIOD = 0.25

log = structlog.get_logger()


class Display(AbstractContextManager["Display"], Protocol):
    """Shows views until it is closed."""

    def show(self, view: NodeView) -> None:
        """Show the node as it is now."""


def make_display(choice: DisplayChoice, log_format: str, console: Console | None = None) -> Display:
    """Return what fits: live on a terminal that moves its cursor and whose log is text, else plain, unless the person chose."""
    console = console or Console(stderr=True)
    live = choice == "live" or (choice == "auto" and console.is_interactive and log_format == "text")
    return LiveDisplay(console) if live else PlainDisplay()


async def run_display(display: Display, read: Callable[[], NodeView]) -> None:
    """Show what `read` returns four times a second, until cancelled."""
    while True:
        display.show(read())
        await asyncio.sleep(_PERIOD)


class LiveDisplay:
    """A panel that stays in its place; log lines go past above it."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, auto_refresh=False, vertical_overflow="crop")
        self._size = console.size
        self._picture: RenderableType = Text()

    def __enter__(self) -> LiveDisplay:
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._live.update(self._picture)
        self._live.stop()

    def show(self, view: NodeView) -> None:
        """Draw the panel anew."""
        console = self._live.console
        if console.size != self._size:  # the terminal has folded the lines of the picture: nobody knows where they are
            console.control(Control.clear(), Control.home())
            self._size = console.size
        self._picture = render(view, self._size.width, self._size.height)
        # The cursor waits in a line of its own, where a `^C` that the terminal writes pushes nothing away.
        self._live.update(Group(self._picture, Text()), refresh=True)


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
        loss = None if after.loss is None else round(after.loss, 4)
        yield after.phase, {"round": after.round + 1, "loss": loss, "message": message}
    if after.waits and (before is None or not before.waits):
        yield "waiting", {"round": after.round + 1, "message": after.waits}
    if before is not None and after.peers != before.peers:
        yield "peers", {"peers": after.peers, "gossip": after.gossip_peers}
    if before is not None and after.restarts > before.restarts:
        yield "restarted", {"restarts": after.restarts}
