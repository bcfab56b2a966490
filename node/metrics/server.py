"""The HTTP server of `/metrics` and `/sd`, in a thread of its own: a slow scraper does not slow the daemon."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from socket import AF_INET6, socket
from socketserver import ThreadingMixIn
from threading import BoundedSemaphore, Thread
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

from ..errors import UserError

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

Discover = Callable[[], Sequence[object]]


_CONNECTIONS = 32
_SECONDS = 10.0


class _Handler(WSGIRequestHandler):
    """Who says nothing for a while is gone."""

    timeout = _SECONDS

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""


class _Server(ThreadingMixIn, WSGIServer):
    """A thread for each connection, and a bound on them: they are the daemon's threads and files, and anyone may connect."""

    daemon_threads = True

    def __init__(self, *args: Any, **options: Any) -> None:
        self._places = BoundedSemaphore(_CONNECTIONS)
        super().__init__(*args, **options)

    def process_request(self, request: socket | tuple[bytes, socket], client_address: Any) -> None:
        """Serve a connection, or close it where there are too many."""
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: socket | tuple[bytes, socket], client_address: Any) -> None:
        """Serve a connection to its end."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: socket | tuple[bytes, socket], client_address: Any) -> None:
        """Say nothing: whoever asked is gone."""


class _Server6(_Server):
    address_family = AF_INET6


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
            server = make_server(host, port, _application(registry, discover), _Server6 if ":" in host else _Server, _Handler)
        except OSError as error:
            hint = "choose another with --metrics-port, or 0 for any that is free"
            raise UserError(f"metrics cannot be served on {host}:{port}: {error.strerror or error}", hint) from error
        thread = Thread(target=server.serve_forever, name="metrics", daemon=True)
        thread.start()
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
