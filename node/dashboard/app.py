"""The routes: the page, its files, the state once, the state as it changes."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from .feed import Feed
from .guard import Access, Guard
from .state import to_json

STATIC = Path(str(files(__package__))) / "static"
_MOST_WATCHERS = 128
_NOT_KEPT = {"Cache-Control": "no-store"}


def make_app(feed: Feed, access: Access) -> ASGIApp:
    """Return the application; whoever runs it also runs the feed."""

    async def page(request: Request) -> Response:
        return FileResponse(STATIC / "index.html")

    async def icon(request: Request) -> Response:
        return FileResponse(STATIC / "icon.svg")

    async def data(request: Request) -> Response:
        return Response(to_json(feed.state.whole()), media_type="application/json", headers=_NOT_KEPT)

    async def events(request: Request) -> Response:
        if feed.watchers >= _MOST_WATCHERS:
            return PlainTextResponse("Too many pages are open.\n", 503, {"Retry-After": "30"})
        seen = request.headers.get("last-event-id") or request.query_params.get("after", "")
        # A proxy must not hold events back until there are enough of them.
        headers = _NOT_KEPT | {"X-Accel-Buffering": "no"}
        return StreamingResponse(feed.watch(seen), media_type="text/event-stream", headers=headers)

    routes = [
        Route("/", page),
        Route("/data.json", data),
        Route("/events", events),
        Route("/favicon.ico", icon),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
    return Guard(Starlette(routes=routes), access)
