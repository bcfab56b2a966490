"""`python -m collab.node.sidecar FD`: started by the daemon, ends when the daemon closes the channel or dies."""

from __future__ import annotations

import logging
import socket
import sys
from contextlib import AsyncExitStack

import trio

from ..processes.frames import Message
from ..processes.inherit import inherited_socket
from .pipe import Pipe
from .service import RequestError, Service


async def serve(sock: socket.socket) -> None:
    """Serve the daemon at the other end of `sock` until it is gone."""
    pipe = Pipe(sock)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pipe.write)
        async with AsyncExitStack() as stack:
            service: Service | None = None
            async for request in pipe:
                if service is None:
                    service = await _start(pipe, stack, request)
                    if service is not None:
                        nursery.start_soon(service.report)
                else:
                    nursery.start_soon(_answer, pipe, service, request)
            nursery.cancel_scope.cancel()


async def _start(pipe: Pipe, stack: AsyncExitStack, request: Message) -> Service | None:
    try:
        service = Service(pipe, request)
        fields = await service.enter(stack, request["host"], request["port"])
    except RequestError as error:
        await pipe.answer({"re": request["id"], "error": error.code, "text": str(error)})
        return None
    await pipe.answer({**fields, "re": request["id"]})
    return service


async def _answer(pipe: Pipe, service: Service, request: Message) -> None:
    try:
        answer = {**await service.handle(request), "re": request["id"]}
    except RequestError as error:
        answer = {"re": request["id"], "error": error.code, "text": str(error)}
    await pipe.answer(answer)


if __name__ == "__main__":
    # The library logs what any stranger provokes as errors; what matters to us is counted and reported.
    library = logging.getLogger("libp2p")
    library.addHandler(logging.NullHandler())
    library.propagate = False
    trio.run(serve, inherited_socket(sys.argv))
