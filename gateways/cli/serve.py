"""`tidelog serve`: what stands in the foreground and lets others in."""

from pathlib import Path
from typing import Annotated

import typer

from tidelog.gateways.cli.invocation import of
from tidelog.gateways.cli.options import Group, TakeOver

app = typer.Typer(help="Servers that let other programs at a group: in the foreground.", no_args_is_help=True)


@app.callback()
def serve() -> None:
    """Servers that let other programs at a group: in the foreground."""


@app.command()
def nbd(
    context: typer.Context,
    group: Group,
    site: Annotated[
        str | None, typer.Option("--site", "-s", help="Where to read. Default: the group's primary.")
    ] = None,
    socket: Annotated[
        Path | None, typer.Option("--socket", help="A unix socket. Default: GROUP-SITE.nbd in the user's own folder.")
    ] = None,
    address: Annotated[
        str | None, typer.Option("--address", help="HOST:PORT instead; beyond this machine only with TLS.")
    ] = None,
    tls_certificates: Annotated[
        Path | None,
        typer.Option(help="TLS: a folder of ca-cert.pem, server-cert.pem and server-key.pem."),
    ] = None,
    tls_psk: Annotated[
        Path | None, typer.Option(help="TLS with keys that clients know: a file of NAME:HEX. Python 3.13 or newer.")
    ] = None,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Copies and clones alone, not to be written to.")
    ] = False,
    take_over: TakeOver = False,
) -> int:
    """Serves a group's volumes, copies and clones as network block devices until SIGTERM (exit code 0) or Ctrl-C (130).

    At the primary live volumes can be written to: that is a writer session, as an application's is.
    """
    from tidelog.gateways.cli.serve_nbd import Wanted, serve_nbd  # asyncio takes a while to load

    wanted = Wanted(group, site, socket, address, tls_certificates, tls_psk, read_only, take_over)
    return serve_nbd(of(context), wanted)
