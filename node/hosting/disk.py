"""A disk that fills up while a node runs ends it with one line."""

from __future__ import annotations

import asyncio

from ..home import Home

_LEAST_FREE_BYTES = 1 << 20
_LOOK_SECONDS = 2.0


async def watch_disk(home: Home) -> None:
    """Raise UserError when the disk is full: the parts that meet it would each try again, and nobody be told."""
    while True:
        await asyncio.to_thread(home.ensure_space, _LEAST_FREE_BYTES)
        await asyncio.sleep(_LOOK_SECONDS)
