"""TCP with a bound on inbound connections, in all and an address, applied before the handshake costs anything.

400 half-open sockets of one address would otherwise keep honest peers out for many seconds. The library moreover counts an
inbound connection until the host stops, so that a long-lived node would refuse everybody in the end: here the handler of a
connection ends with it.
"""

from __future__ import annotations

import trio
from libp2p.abc import IListener
from libp2p.custom_types import THandler
from libp2p.io.abc import ReadWriteCloser
from libp2p.io.trio import TrioTCPStream
from libp2p.transport.tcp.tcp import TCP

from .bounds import ConnectionBounds


class _Inbound(TrioTCPStream):  # type: ignore[misc]  # the library has no types
    """A stream that ends the scope of its handler when it is closed."""

    def __init__(self, stream: trio.SocketStream, scope: trio.CancelScope) -> None:
        super().__init__(stream)
        self._scope = scope

    async def close(self) -> None:
        self._scope.cancel()
        await super().close()


class BoundedTCP(TCP):  # type: ignore[misc]
    """The library's TCP transport behind `bounds`."""

    def __init__(self, bounds: ConnectionBounds) -> None:
        super().__init__()
        self._bounds = bounds

    def create_listener(self, handler_function: THandler) -> IListener:
        """Return a listener whose handler sees only admitted connections."""

        async def admitted(stream: ReadWriteCloser) -> None:
            remote = stream.get_remote_address()
            if remote is None or not self._bounds.admit(remote[0]):
                await stream.close()
                return
            try:
                assert isinstance(stream, TrioTCPStream)
                with trio.CancelScope() as scope:
                    await handler_function(_Inbound(stream.stream, scope))
            finally:
                self._bounds.release(remote[0])

        return super().create_listener(admitted)
