"""Running what needs the worker's process in a command of its own, with no log but warnings: the output is the command's."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

A = TypeVar("A")


def offline(work: Coroutine[Any, Any, A]) -> A:
    """Run `work` to its end and return its result."""
    import asyncio

    from ..logs import configure_logs

    configure_logs(level="warning")
    return asyncio.run(work)
