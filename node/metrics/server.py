"""The HTTP server of `/metrics` and `/sd`, in a thread of its own: a slow scraper does not slow the daemon."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from threading import Thread
from typing import TYPE_CHECKING, Protocol

from prometheus_client import CollectorRegistry, make_wsgi_app, start_http_server

from ..errors import UserError

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

Discover = Callable[[], Sequence[object]]


class _Server(Protocol):
    server_port: int

    def set_app(self, application: WSGIApplication) -> None: ...

    def shutdown(self) -> None: ...

    def server_close(self) -> None: ...


class MetricsServer:
    """Serves a registry until it is closed; `port` is the one it listens on."""

    def __init__(self, server: _Server, thread: Thread) -> None:
        self._server = server
        self._thread = thread
        self.port = server.server_port

    @classmethod
    def start(
        cls, registry: CollectorRegistry, host: str = "127.0.0.1", port: int = 0, discover: Discover = tuple
    ) -> MetricsServer:
        """Listen on `host`; port 0 lets the system choose. Raises UserError if that cannot be done.

        `discover` returns what `/sd` answers; it is called in the server's threads.
        """
        try:
            server, thread = start_http_server(port, host, registry)
        except OSError as error:
            hint = "choose another with --metrics-port, or 0 for any that is free"
            raise UserError(f"metrics cannot be served on {host}:{port}: {error.strerror or error}", hint) from error
        server.set_app(_application(registry, discover))
        return cls(server, thread)

    def close(self) -> None:
        """Stop serving and free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _application(registry: CollectorRegistry, discover: Discover) -> WSGIApplication:
    metrics: WSGIApplication = make_wsgi_app(registry)

    def answer(environment: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        if environment["PATH_INFO"] != "/sd":
            return metrics(environment, start)
        start("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(discover()).encode()]

    return answer
