"""The daemon's event loop, for all network tests."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable, Mapping

import uvloop

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # hivemind's import uses what torch deprecates
    import hivemind  # noqa: F401


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}
