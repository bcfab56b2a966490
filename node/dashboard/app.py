"""The routes: the page, its files, the state once, the state as it changes. All of it comes from memory."""

from __future__ import annotations

import time
from hashlib import sha256

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from .feed import Feed
from .guard import Access, Guard
from .page import page_with, static_files
from .state import to_json

_MOST_WATCHERS = 128
_NOT_KEPT = {"Cache-Control": "no-store"}
_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


def make_app(feed: Feed, access: Access) -> ASGIApp:
    """Return the application; whoever runs it also runs the feed."""

    async def page(request: Request) -> Response:
        snapshot = {"taken": int(time.time()), "seen": feed.seen, **feed.state.whole()}
        return HTMLResponse(page_with(snapshot), headers=_NOT_KEPT)

    async def data(request: Request) -> Response:
        return Response(to_json(feed.state.whole()), media_type="application/json", headers=_NOT_KEPT)

    async def events(request: Request) -> Response:
        if feed.watchers >= _MOST_WATCHERS:
            return PlainTextResponse("Too many pages are open.\n", 503, {"Retry-After": "30"})
        seen = request.headers.get("last-event-id") or request.query_params.get("after", "")
        # A proxy must not hold events back until there are enough of them.
        headers = _NOT_KEPT | {"X-Accel-Buffering": "no"}
        return StreamingResponse(feed.watch(seen), media_type="text/event-stream", headers=headers)

    async def static(request: Request) -> Response:
        return _file(request, request.path_params["name"])

    async def favicon(request: Request) -> Response:
        return _file(request, "icon.svg")

    routes = [
        Route("/", page),
        Route("/data.json", data),
        Route("/events", events),
        Route("/static/{name}", static),
        Route("/favicon.ico", favicon),
    ]
    return Guard(Starlette(routes=routes), access)


def _file(request: Request, name: str) -> Response:
    data = static_files().get(name)
    if data is None:
        return PlainTextResponse("There is no such file.\n", 404)
    tag = f'"{sha256(data).hexdigest()[:32]}"'
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers={"ETag": tag})
    return Response(data, media_type=_TYPES[name.rpartition(".")[2]], headers={"ETag": tag})
