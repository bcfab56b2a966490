"""One log for the node: our events and our libraries' warnings, a line each, on standard error."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from typing import Literal, TextIO

import structlog
from structlog.types import Processor

OUR_LOGGER = "collab"
_LIBRARIES = ("hivemind", "asyncio", "libp2p", "datasets", "transformers", "torch")

LogFormat = Literal["text", "json"]


class _StandardError(logging.StreamHandler[TextIO]):
    """Writes to whatever `sys.stderr` is at the time: a live display puts itself there."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, value: TextIO) -> None:
        raise AttributeError("this handler always writes to sys.stderr")


def configure_logs(format: LogFormat = "text", level: str = "info") -> None:
    """Send everything to standard error: as text for people, coloured on a terminal only, or as one JSON object a line."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso" if format == "json" else "%H:%M:%S", utc=format == "json"),
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = _StandardError()
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=_rendering(format)))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger(OUR_LOGGER).setLevel(level.upper())
    logging.captureWarnings(True)
    logging.getLogger("py.warnings").setLevel(logging.ERROR)
    os.environ.setdefault("HIVEMIND_LOGLEVEL", "WARNING")
    route_library_logs()


def only_warnings() -> None:
    """Let a command that prints its own result write nothing else: warnings go to standard error, the rest nowhere."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )


def route_library_logs() -> None:
    """Take the libraries' own handlers away, so that their warnings come out of ours. Again after importing hivemind."""
    for name in _LIBRARIES:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.WARNING)


def _rendering(format: LogFormat) -> Sequence[Processor]:
    drop = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    if format == "json":
        return [drop, structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False, default=str)]
    colors = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    return [drop, _drop_logger_name, structlog.dev.ConsoleRenderer(colors=colors, pad_event_to=28)]


def _drop_logger_name(_: object, __: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
    """Our own events say in words what they are about; a library's needs its name."""
    if str(event.get("logger", "")).startswith(OUR_LOGGER):
        event.pop("logger")
    return event
