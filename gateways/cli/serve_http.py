"""`tidelog serve http`: the status page, its API and its events."""

import signal
import threading
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from tidelog.errors import UsageError
from tidelog.gateways.cli.exit_codes import INTERRUPTED, OK
from tidelog.gateways.cli.invocation import of
from tidelog.gateways.cli.options import OnlyGroup
from tidelog.gateways.extras import installation

if TYPE_CHECKING:
    from tidelog.gateways.web.server import HttpServer

_LOOK_AGAIN = 0.2

app = typer.Typer()


@app.command("http")
def serve_http(
    context: typer.Context,
    address: Annotated[
        str | None, typer.Option("--address", "-a", help="host:port to listen at. Default: 127.0.0.1:8080.")
    ] = None,
    group: OnlyGroup = None,
    token_file: Annotated[
        Path | None, typer.Option("--token-file", help="A file with the token that whoever asks must show.")
    ] = None,
    tls_cert: Annotated[Path | None, typer.Option("--tls-cert", help="The server's certificate, PEM.")] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key", help="The certificate's key, PEM.")] = None,
) -> int:
    """A page that shows what stands where, live, and the same for programs. Read-only. On loopback, unless a token and
    TLS are given. Until it is told to stop: SIGTERM (exit code 0) or Ctrl-C (130)."""
    try:
        from tidelog.gateways.web.server import HttpServer
        from tidelog.gateways.web.serving import serving
    except ModuleNotFoundError as error:
        raise UsageError(
            f"the status page needs {error.name}, which is not installed", hint=installation("web")
        ) from None
    invocation = of(context)
    found = serving(invocation.config.http, address, token_file, tls_cert, tls_key)
    server = HttpServer(invocation.deployment, found, group)
    server.start()
    who = "who shows the token" if found.http.token is not None else "everybody on this machine"
    invocation.say(f"the status page is at {server.url} for {who}; Ctrl-C ends it")
    number = _until_told(server)
    invocation.say("the status page has ended")
    return INTERRUPTED if number == signal.SIGINT else OK


def _until_told(server: "HttpServer") -> int | None:
    """The signal that it was; None if it has ended by itself. Raises what it ended with."""
    told: list[int] = []
    event = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        told.append(number)
        event.set()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        while server.running and not event.wait(_LOOK_AGAIN):
            pass
    finally:
        # From here on a second signal ends the process at once.
        for number, of_before in before.items():
            signal.signal(number, of_before)
        server.stop()
    return told[0] if told else None
