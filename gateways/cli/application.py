"""The tree of commands."""

from pathlib import Path
from typing import Annotated

import typer

import tidelog
from tidelog.gateways.cli import (
    clones,
    config_commands,
    copies,
    exports,
    groups,
    log_commands,
    sidefiles,
    sites,
    status,
    volumes,
)
from tidelog.gateways.cli.exit_codes import epilogue
from tidelog.gateways.cli.invocation import of

app = typer.Typer(
    name="tidelog",
    help="Replicated volumes with the same consistent point-in-time copies at every site, over Kafka and Redis.",
    epilog=epilogue(),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(groups.app, name="group")
app.add_typer(volumes.app, name="volume")
app.add_typer(copies.app, name="pitc")
app.add_typer(clones.app, name="clone")
app.add_typer(exports.app, name="export")
app.add_typer(sites.app, name="site")
app.add_typer(log_commands.app, name="log")
app.add_typer(sidefiles.app, name="sidefile")
app.command("status")(status.show)
app.add_typer(config_commands.app, name="config")


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
