"""The HTTP server of `/metrics`, in a thread of its own: a slow scraper does not slow the daemon."""

from __future__ import annotations

from threading import Thread
from typing import Protocol

from prometheus_client import CollectorRegistry, start_http_server

from .errors import UserError


class _Server(Protocol):
    server_port: int

    def shutdown(self) -> None: ...

    def server_close(self) -> None: ...


class MetricsServer:
    """Serves a registry until it is closed; `port` is the one it listens on."""

    def __init__(self, server: _Server, thread: Thread) -> None:
        self._server = server
        self._thread = thread
        self.port = server.server_port

    @classmethod
    def start(cls, registry: CollectorRegistry, host: str = "127.0.0.1", port: int = 0) -> MetricsServer:
        """Listen on `host`; port 0 lets the system choose. Raises UserError if that cannot be done."""
        try:
            server, thread = start_http_server(port, host, registry)
        except OSError as error:
            hint = "choose another with --metrics-port, or 0 for any that is free"
            raise UserError(f"metrics cannot be served on {host}:{port}: {error.strerror or error}", hint) from error
        return cls(server, thread)

    def close(self) -> None:
        """Stop serving and free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
