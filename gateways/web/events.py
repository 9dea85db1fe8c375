"""Server-sent events: the same picture for every page, to so many clients as are allowed."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from tidelog.gateways.standing.documents import JSON_VERSION
from tidelog.gateways.web.board import Board

CLIENTS_MAX = 64
MEDIA_TYPE = "text/event-stream"


class Events:
    """`/api/v1/events`. Who is slow is given the newest picture when he is ready, never a queue of them; who does not
    read at all is cut off by the connection (`tidelog.gateways.web.connection`)."""

    def __init__(self, board: Board, clients_max: int = CLIENTS_MAX) -> None:
        self._board, self._clients_max = board, clients_max
        self.clients = 0

    async def send(self, request: Request) -> Response:
        """503 when too many listen."""
        if self.clients >= self._clients_max:
            said = {"version": JSON_VERSION, "error": f"{self._clients_max} pages are open already"}
            return JSONResponse(said, 503, {"retry-after": "30"})
        if request.method == "HEAD":
            return Response(media_type=MEDIA_TYPE)
        return _Stream(self)

    def follow(self) -> StreamingResponse:
        """What one client gets."""
        return StreamingResponse(self._board.follow(), media_type=MEDIA_TYPE)


class _Stream(Response):
    """Counts itself while it lasts."""

    def __init__(self, events: Events) -> None:
        super().__init__()
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._events.clients += 1
        try:
            await self._events.follow()(scope, receive, send)
        finally:
            self._events.clients -= 1
