"""`tidelog metrics`: what an observer exposes, once, as Prometheus' text."""

import typer

from tidelog.clock import wall_us
from tidelog.errors import ConfigError, LogUnavailable
from tidelog.gateways.cli.exit_codes import OK
from tidelog.gateways.cli.invocation import Invocation, of
from tidelog.gateways.cli.options import OnlyGroup
from tidelog.gateways.extras import installation
from tidelog.gateways.standing.observer import Observer

app = typer.Typer()


@app.command("metrics")
def show(context: typer.Context, group: OnlyGroup = None) -> int:
    """Every group at every site, once, in Prometheus' text format: for node_exporter's textfile collector. Without an
    answer of Kafka that is said by `tidelog_observer_up` 0, and the exit code is 11."""
    invocation = of(context)
    try:
        from tidelog.gateways.metrics import exposition
    except ModuleNotFoundError as error:
        raise metrics_missing(error) from None
    try:
        with Observer(invocation.deployment, group) as observer:
            observed, looked_us = observer.observe(), wall_us()
    except LogUnavailable:
        _print(invocation, exposition(None)[0])
        raise
    _print(invocation, exposition(observed, looked_us)[0])
    return OK


def _print(invocation: Invocation, text: bytes) -> None:
    print(text.decode(), end="", file=invocation.out.file)


def metrics_missing(error: ModuleNotFoundError) -> ConfigError:
    """What to say where the extra is not installed."""
    return ConfigError(f"metrics need the package {error.name}", hint=installation("metrics"))
