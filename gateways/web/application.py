"""The routes: the page, its files, the API."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from tidelog.consumers.deployment import Deployment
from tidelog.gateways.standing.documents import JSON_VERSION
from tidelog.gateways.web.access import Access
from tidelog.gateways.web.assets import assets
from tidelog.gateways.web.board import Board
from tidelog.gateways.web.documents import copies_json
from tidelog.gateways.web.events import Events
from tidelog.gateways.web.guard import Guard
from tidelog.gateways.web.login import Login
from tidelog.gateways.web.metrics_route import MetricsRoute
from tidelog.gateways.web.protection import Protections
from tidelog.gateways.web.watching import Watcher

SAY_WHICH = "say which: ?group=NAME"


def application(
    deployment: Deployment, access: Access, board: Board, events: Events, only: str | None = None
) -> ASGIApp:
    """The ASGI application, which looks at Kafka while it runs."""

    @asynccontextmanager
    async def running(_: Starlette) -> AsyncIterator[None]:
        board.begin()
        watcher = Watcher(deployment, only, board.interval, board.looked, board.failed, board.answered)
        watcher.start()
        clock = asyncio.create_task(board.watch_the_clock())
        try:
            yield
        finally:
            clock.cancel()
            await asyncio.to_thread(watcher.stop)

    routes = _routes(board, Protections(deployment), access, events)
    return Guard(Starlette(routes=routes, lifespan=running, exception_handlers={Exception: _unexpected}), access)


def _routes(board: Board, protections: Protections, access: Access, events: Events) -> list[Route]:
    files = assets()
    api, login = Api(board, protections), Login(access, files["login.html"].content.decode())
    return [
        Route("/", files["index.html"].send),
        *(Route(f"/{name}", asset.send) for name, asset in files.items() if not name.endswith(".html")),
        Route("/api/v1/status", api.status),
        Route("/api/v1/history", api.history),
        Route("/api/v1/copies", api.copies),
        Route("/api/v1/events", events.send),
        Route("/metrics", MetricsRoute(board).send),
        Route("/healthz", healthz),
        Route("/readyz", api.readyz),
        Route("/login", login.show),
        Route("/login", login.enter, methods=["POST"]),
        Route("/logout", login.leave, methods=["POST"]),
    ]


async def healthz(request: Request) -> Response:  # noqa: ARG001 (every endpoint is given one)
    """The process lives."""
    return PlainTextResponse("ok\n")


class Api:
    """The documents for programs. Errors are documents, too: ``{"version": 1, "error": ...}``."""

    def __init__(self, board: Board, protections: Protections) -> None:
        self._board, self._protections = board, protections

    async def status(self, request: Request) -> Response:  # noqa: ARG002
        """What `tidelog status --json` prints; 503 rather than one that is older than the board's patience."""
        unready, status = self._board.unready, self._board.status
        if unready or status is None:
            return _error(503, unready)
        return _document(status)

    async def history(self, request: Request) -> Response:
        """The last hour of one group; of all it may be tens of megabytes, and others would wait while that is made."""
        name = request.query_params.get("group", "")
        if not name:
            return _error(400, SAY_WHICH)
        found = self._board.history.json(name)
        return _document(found) if found is not None else _error(404, f"no group {name}")

    async def copies(self, request: Request) -> Response:
        """The catalogue of one group."""
        name = request.query_params.get("group", "")
        if not name:
            return _error(400, SAY_WHICH)
        group = self._board.of(name)
        if group is None:
            return _error(404, f"no group {name}")
        revision = self._board.revision(name)
        site = group.chosen.site if group.chosen is not None else group.configured
        found, unknown_because = await self._protections.of(group.standing.record, site)
        return _document({"revision": revision} | copies_json(group, found, unknown_because))

    async def readyz(self, request: Request) -> Response:  # noqa: ARG002
        """Whether Kafka was looked at lately. The reason is in `/api/v1/status`, for those who may read that."""
        return PlainTextResponse("not ready\n", 503) if self._board.unready else PlainTextResponse("ready\n")


async def _unexpected(request: Request, error: Exception) -> Response:
    """A bug: its kind for who asked, all of it for who runs the server."""
    print(f"unexpected {type(error).__name__} at {request.url.path}: {error}", file=sys.stderr, flush=True)
    return _error(500, f"unexpected {type(error).__name__}; this is a bug in tidelog")


def _document(found: dict[str, Any]) -> Response:
    return JSONResponse({"version": JSON_VERSION} | found)


def _error(status: int, text: str) -> Response:
    return JSONResponse({"version": JSON_VERSION, "error": text}, status)
