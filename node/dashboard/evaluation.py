"""Held-out losses for the page: asked of the node after its commits, and not more often than it can spare."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from pathlib import Path

from ..processes.frames import encode_frame
from .feed import Feed
from .state import State

_PATIENCE = 300.0
_PAUSE = 2.0
# Of the worker's time, at most this part goes into measuring: where it trains, and where it has only merges to do beside.
_TRAINS_SHARE, _RESTS_SHARE = 0.05, 0.5


class Evaluation:
    """Has the node measure its newest weights after a commit, and leaves it most of its time for other things."""

    def __init__(self, control: Path, always: bool | None) -> None:
        """`control` is the node's control socket. `always`: see `Serving.evaluates`."""
        self._control = control
        self._always = always
        self._took = 0.0

    async def run(self, feed: Feed) -> None:
        """Measure whenever there is a new commit, until cancelled."""
        measured = ""
        while True:
            commit = self.wanted(feed.state)
            if commit and commit != measured:
                await self.measure()
                measured = commit
            await asyncio.sleep(self.pause(feed.state))

    async def measure(self) -> None:
        """Have it measured once; what goes wrong shows on the page as a value that is missing."""
        began = time.monotonic()
        with suppress(OSError):  # TimeoutError is one
            async with asyncio.timeout(_PATIENCE):
                await _ask(self._control)
        self._took = time.monotonic() - began

    def pause(self, state: State) -> float:
        """Return for how many seconds to leave the worker alone now."""
        share = _TRAINS_SHARE if state.values.get("node", {}).get("trains") else _RESTS_SHARE
        return max(_PAUSE, self._took * (1 / share - 1))

    def wanted(self, state: State) -> str:
        """Return the commit to measure in this state, "" if none."""
        node, totals = (state.values.get(name, {}) for name in ("node", "totals"))
        wanted = node.get("running") and (self._always or not node.get("trains"))
        return str(totals.get("commit", "")) if wanted else ""


async def _ask(control: Path) -> None:
    """Ask for a measurement and wait until it is made: the answer stands in the node's store. Can be cancelled at any time."""
    reader, writer = await asyncio.open_unix_connection(control)
    try:
        writer.write(encode_frame({"op": "evaluate"}))
        await reader.read()
    finally:
        writer.close()
