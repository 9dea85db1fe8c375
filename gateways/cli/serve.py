"""`tidelog serve`: what is given to others over a network."""

from typing import ClassVar

import typer

from tidelog.gateways.cli.lazy_group import LazyGroup


class Servers(LazyGroup):
    """What stands behind `tidelog serve`."""

    modules: ClassVar = {
        "http": "serve_http",
    }


app = typer.Typer(cls=Servers, help="Servers: what tidelog has, for programs that know nothing of it.")


@app.callback()
def serve() -> None:
    """A group of commands, even while it has one."""
