"""The tree of commands."""

from pathlib import Path
from typing import Annotated, ClassVar

import typer

import tidelog
from tidelog.gateways.cli.exit_codes import epilogue
from tidelog.gateways.cli.invocation import of
from tidelog.gateways.cli.lazy_group import LazyGroup


class Commands(LazyGroup):
    """What stands behind `tidelog`."""

    modules: ClassVar = {
        "group": "groups",
        "volume": "volumes",
        "pitc": "copies",
        "clone": "clones",
        "export": "exports",
        "site": "sites",
        "log": "log_commands",
        "sidefile": "sidefiles",
        "status": "status",
        "config": "config_commands",
        "serve": "serve",
    }


app = typer.Typer(
    name="tidelog",
    cls=Commands,
    help="Replicated volumes with the same consistent point-in-time copies at every site, over Kafka and Redis.",
    epilog=epilogue(),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tidelog {tidelog.__version__}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="Configuration file. Default: TIDELOG_CONFIG, else ./tidelog.toml."),
    ] = None,
    bootstrap_servers: Annotated[
        str | None,
        typer.Option("--bootstrap-servers", "-b", help="Kafka's host:port,..., instead of the configured ones."),
    ] = None,
    traceback: Annotated[bool, typer.Option("--traceback", help="Show where an error comes from.")] = False,
    version: Annotated[  # noqa: ARG001 (its callback does it)
        bool, typer.Option("--version", help="Show the version and end.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """What every command takes, before its name."""
    invocation = of(context)
    invocation.config_file, invocation.bootstrap_servers = config, bootstrap_servers
    invocation.traceback = traceback
