"""The worker's process: a plain loop that serves requests, and between them takes inner steps.

A request that comes while training waits for one step at most. When the channel ends, because the daemon stopped or died,
the checkpoint is saved and the process ends.
"""

from __future__ import annotations

import sys

from ..processes.ipc import BlockingChannel, ChannelClosed, Message, failure, reply
from .errors import WorkerError
from .messages import Notice
from .service import Service


def serve(channel: BlockingChannel) -> None:
    """Serve until the other side closes the channel."""

    def notify(notice: Notice) -> None:
        channel.send({"event": notice.EVENT, **notice.model_dump()})

    service = Service(notify)
    try:
        while True:
            request = channel.poll() if service.training else channel.receive()
            if request is not None:
                _answer(channel, service, request)
            elif service.training:
                service.step()
    except ChannelClosed:
        _close(service)


def _close(service: Service) -> None:
    try:
        service.close()
    except WorkerError as error:
        sys.exit(f"the checkpoint was not saved: {error.text}")  # the one before it is still whole


def _answer(channel: BlockingChannel, service: Service, request: Message) -> None:
    fields = {name: value for name, value in request.items() if name not in ("id", "op")}
    try:
        answer = service.handle(str(request.get("op")), fields)
    except WorkerError as error:
        channel.send(failure(request, error.code, error.text))
    except Exception as error:
        # A fault of ours, or a GPU that is gone: say so, and let the daemon start a fresh process from the checkpoint.
        channel.send(failure(request, "internal", f"the worker failed: {type(error).__name__}: {error}"))
        raise
    else:
        channel.send(reply(request, **answer.model_dump()))
