"""`tidelog status`: everything in one screen."""

import time
from typing import Annotated, NoReturn

import typer
from rich.live import Live
from rich.text import Text

from tidelog.clock import iso, wall_us
from tidelog.errors import Unavailable, UsageError
from tidelog.gateways.cli.invocation import Invocation, of
from tidelog.gateways.cli.options import Json, OnlyGroup
from tidelog.gateways.cli.output import emit_json, emit_json_line, seconds_text
from tidelog.gateways.cli.standing import exit_code_of
from tidelog.gateways.cli.status_screen import StatusScreen
from tidelog.gateways.standing.documents import status_document
from tidelog.gateways.standing.observer import Observed, Observer
from tidelog.units import parse_duration

# A screen says that no answer has come when one has been waited for so long beyond the interval, in seconds.
PATIENCE = 2.0
REDRAWS = 4  # a second
INTERVAL_MIN = 0.1  # seconds: a look is a request or more for each group


app = typer.Typer()


@app.command("status")
def show(
    context: typer.Context,
    group: OnlyGroup = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it anew again and again, until Ctrl-C.")] = False,
    interval: Annotated[str, typer.Option("--interval", help="How often, with --watch; at least 100ms.")] = "1s",
    json: Json = False,
) -> int:
    """Every group at every site: state, RPO, rates, newest copy, alarms. Exit code 3 if degraded or a writer is gone, 4
    if a site halted, 5 if an objective is missed."""
    invocation = of(context)
    pause = parse_duration(interval)
    if pause < INTERVAL_MIN:
        raise UsageError(f"--interval {interval} is too short", hint="each look asks Kafka: take 100ms or more")
    with Observer(invocation.deployment, group) as observer:
        if watch:
            _watch(invocation, observer, pause, json=json)
        observed = observer.observe()
    if json:
        emit_json(invocation, status_document(observed))
    else:
        invocation.out.print(StatusScreen(observed))
    return exit_code_of(observed)


def _watch(invocation: Invocation, observer: Observer, pause: float, *, json: bool) -> NoReturn:
    """On a terminal a Kafka that has answered once is waited out, and that is said; on a pipe its error ends it."""
    if invocation.out.is_terminal and not json:
        _redraw(invocation, Watched(observer, pause), pause)
    while True:
        observed = observer.observe()
        if json:
            emit_json_line(invocation, status_document(observed))
        else:
            invocation.out.print(StatusScreen(observed))
        time.sleep(pause)


def _redraw(invocation: Invocation, watched: "Watched", pause: float) -> NoReturn:
    """One screen, drawn by a thread of its own, so that it says for how long a look has been waited for."""
    size = invocation.out.size
    with Live(console=invocation.out, get_renderable=watched.screen, refresh_per_second=REDRAWS) as live:
        while True:
            time.sleep(pause)
            watched.look()
            if invocation.out.size != size:  # a terminal wraps old lines anew, and nobody knows where they end
                size = invocation.out.size
                invocation.out.clear()
            live.refresh()


class Watched:
    """What was seen last, and what is in the way of seeing more. Made by a first look, whose errors are raised."""

    def __init__(self, observer: Observer, pause: float) -> None:
        self._observer, self._pause = observer, pause
        self._seen = (observer.observe(), wall_us(), time.monotonic())
        self.problem: Unavailable | None = None

    @property
    def observed(self) -> list[Observed]:
        """By the last look that was answered."""
        return self._seen[0]

    def look(self) -> None:
        """Looks again; may wait for as long as Kafka may take to answer."""
        try:
            observed = self._observer.observe()
        except Unavailable as error:
            self.problem = error
            return
        self._seen, self.problem = (observed, wall_us(), time.monotonic()), None

    def heading(self) -> Text:
        """When that was, and whether an answer is waited for now."""
        _, looked_us, looked = self._seen
        age, problem = time.monotonic() - looked, self.problem
        if problem is None and age < self._pause + PATIENCE:
            return Text(f"seen at {iso(looked_us)}, each {self._pause:g} s; Ctrl-C ends", style="dim")
        why = f" ({problem})" if problem is not None else ""
        told = f"NO ANSWER FROM KAFKA for {seconds_text(age)}: this was seen at {iso(looked_us)}; it goes on by itself"
        return Text(told + why, style="bold red")

    def screen(self) -> StatusScreen:
        """What is to be shown now, in the room that the terminal has."""
        return StatusScreen(self.observed, self.heading(), fitted=True)
