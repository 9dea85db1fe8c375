"""`tidelog config`: what is set, and where."""

import typer

from tidelog.config import Setting
from tidelog.errors import ConfigError
from tidelog.gateways.cli.invocation import BOOTSTRAP_VARIABLE, Invocation, of
from tidelog.gateways.cli.options import Json
from tidelog.gateways.cli.output import emit_json, emit_table
from tidelog.gateways.standing.sidefiles import configured, folder_of
from tidelog.producers.sidefile_folder import check_folder

app = typer.Typer(help="The configuration: one TOML file, the environment over it.", no_args_is_help=True)


@app.command()
def check(context: typer.Context) -> None:
    """Reads the configuration and ends: 0 if it can be used, 10 with the reason if not. Connects to nothing.

    Folders of sidefiles must be there, and writable, on this machine.
    """
    invocation = of(context)
    config = invocation.config
    for group in configured(config):
        try:
            check_folder(folder_of(config, group), group)
        except ConfigError as error:
            error.hint += "; only machines whose applications open the group need it"
            raise
    where = str(config.file) if config.file else "no file; defaults and the environment"
    invocation.say(f"the configuration can be used ({where}): sites {', '.join(config.sites) or 'none'}")


@app.command()
def show(context: typer.Context, json: Json = False) -> None:
    """Every setting, its value and where it comes from; secrets are masked."""
    invocation = of(context)
    settings = [_with_option(invocation, setting) for setting in invocation.config.describe()]
    if json:
        rows = [{"key": key, "value": value, "origin": origin} for key, value, origin in settings]
        emit_json(invocation, {"settings": rows})
        return
    emit_table(
        invocation, ("setting", "value", "from"), [(key, _text(value), origin) for key, value, origin in settings]
    )


def _with_option(invocation: Invocation, setting: Setting) -> Setting:
    """The option stands in for the variable that it sets."""
    given = invocation.bootstrap_servers is not None and setting.origin == BOOTSTRAP_VARIABLE
    return setting._replace(origin="--bootstrap-servers") if given else setting


def _text(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "-" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
