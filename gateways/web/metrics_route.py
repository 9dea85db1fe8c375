"""`/metrics`: what `tidelog.gateways.metrics` exposes (extra ``[metrics]``); 404 with a word where that is missing."""

from collections.abc import Callable, Sequence
from importlib import import_module

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from tidelog.gateways.standing.observer import Observed
from tidelog.gateways.web.board import Board

MODULE = "tidelog.gateways.metrics"
# What is looked for there: the groups as they were last seen, in; the text and its content type, out.
Exposition = Callable[[Sequence[Observed]], tuple[bytes, str]]


class MetricsRoute:
    """Finds the module when it is first asked."""

    def __init__(self, board: Board) -> None:
        self._board = board

    async def send(self, request: Request) -> Response:  # noqa: ARG002 (every endpoint is given one)
        """Of the last look; 503 while there is none."""
        try:
            exposition: Exposition = import_module(MODULE).exposition
        except (ImportError, AttributeError):
            return PlainTextResponse("no metrics here: pip install 'tidelog[metrics]'\n", 404)
        if self._board.status is None:
            return PlainTextResponse(f"{self._board.unready}\n", 503)
        text, content_type = exposition(self._board.observed)
        return Response(text, media_type=content_type)
