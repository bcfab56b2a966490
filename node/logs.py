"""One log for the node: our events and our libraries' warnings, a line each, on standard error."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Literal, TextIO

import structlog
from structlog.types import Processor

from .errors import disk_errors
from .files import make_folder
from .units import printable

OUR_LOGGER = "collab"
_FILE_BYTES = 5_000_000
_OLD_FILES = 4
_LIBRARIES = ("hivemind", "asyncio", "libp2p", "datasets", "transformers", "torch")

LogFormat = Literal["text", "json"]


class _RotatingFile(RotatingFileHandler):
    """A file, and the files before it; a full disk costs lines, not the node."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, maxBytes=_FILE_BYTES, backupCount=_OLD_FILES, encoding="utf-8")

    def handleError(self, record: logging.LogRecord) -> None:
        return


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


def configure_logs(format: LogFormat = "text", level: str = "info", file: Path | None = None) -> None:
    """Send everything to standard error: as text for people, coloured on a terminal only, or as one JSON object a line.

    With `file` it goes there instead, and never grows beyond a few files of some MB. Raises UserError if that cannot be written.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt=_time_format(format, file), utc=format == "json"),
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler: logging.Handler = _StandardError() if file is None else _open(file)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=_rendering(format, file)))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger(OUR_LOGGER).setLevel(level.upper())
    logging.captureWarnings(True)
    logging.getLogger("py.warnings").setLevel(logging.ERROR)
    os.environ.setdefault("HIVEMIND_LOGLEVEL", "WARNING")
    route_library_logs()


def quiet_logs() -> None:
    """Log warnings and errors only from now on."""
    logging.getLogger(OUR_LOGGER).setLevel(logging.WARNING)


def route_library_logs() -> None:
    """Take the libraries' own handlers away, so that their warnings come out of ours. Again after importing hivemind."""
    for name in _LIBRARIES:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.WARNING)


def _open(file: Path) -> logging.Handler:
    with disk_errors(file):
        make_folder(file.parent)
        return _RotatingFile(file)


def _rendering(format: LogFormat, file: Path | None) -> Sequence[Processor]:
    drop = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    if format == "json":
        return [drop, structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False, default=str)]
    colors = file is None and sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    return [drop, _drop_logger_name, _without_controls, structlog.dev.ConsoleRenderer(colors=colors, pad_event_to=28)]


def _time_format(format: LogFormat, file: Path | None) -> str:
    if format == "json":
        return "iso"
    return "%H:%M:%S" if file is None else "%Y-%m-%d %H:%M:%S"


def _drop_logger_name(_: object, __: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
    """Our own events say in words what they are about; a library's needs its name."""
    if str(event.get("logger", "")).startswith(OUR_LOGGER):
        event.pop("logger")
    return event


def _without_controls(_: object, __: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
    """A peer's words stand in some values: nothing in them may steer a terminal, now or when the file is read."""
    return {name: printable(value) if isinstance(value, str) and name != "exception" else value for name, value in event.items()}
