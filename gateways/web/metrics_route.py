"""`/metrics`: what `tidelog.gateways.metrics` exposes (extra ``[metrics]``); 404 with a word where that is missing."""

from collections.abc import Callable, Sequence
from importlib import import_module

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from tidelog.gateways.extras import installation
from tidelog.gateways.standing.observer import Observed
from tidelog.gateways.web.board import Board

MODULE = "tidelog.gateways.metrics"
# What is looked for there: the groups as they were last seen, None if Kafka does not answer, and when that was, in
# microseconds; the text and its media type.
Exposition = Callable[[Sequence[Observed] | None, int], tuple[bytes, str]]


class MetricsRoute:
    """Finds the module when it is first asked."""

    def __init__(self, board: Board) -> None:
        self._board = board

    async def send(self, request: Request) -> Response:  # noqa: ARG002 (every endpoint is given one)
        """Of the last look; of no group while that is old."""
        try:
            exposition: Exposition = import_module(MODULE).exposition
        except ModuleNotFoundError as error:
            if error.name not in (MODULE, "prometheus_client"):
                raise
            return PlainTextResponse(f"no metrics here: {installation('metrics')}\n", 404)
        observed = None if self._board.unready else self._board.observed
        text, media_type = exposition(observed, self._board.looked_us)
        return Response(text, media_type=media_type)
