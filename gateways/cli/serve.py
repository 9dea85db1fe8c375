"""`tidelog serve`: what is given to others over a network."""

from typing import ClassVar

import typer

from tidelog.gateways.cli.lazy_group import LazyGroup


class Servers(LazyGroup):
    """What stands behind `tidelog serve`."""

    modules: ClassVar = {
        "http": "serve_http",
        "nbd": "serve_nbd",
    }


app = typer.Typer(
    cls=Servers, help="Servers: what tidelog has, for programs that know nothing of it.", no_args_is_help=True
)


@app.callback()
def serve() -> None:
    """Without this the only thing here would be taken for a command, not for a group of them."""
