"""One run of the command line: its configuration, what that reaches, and where its output goes."""

import os
import sys
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import typer
from rich.console import Console

from tidelog.config import Config
from tidelog.consumers.deployment import Deployment, RealDeployment
from tidelog.errors import LogUnavailable, TidelogError

OpenDeployment = Callable[[Config], Deployment]
BOOTSTRAP_VARIABLE = "TIDELOG_KAFKA__BOOTSTRAP_SERVERS"
# Wide enough that nothing in a table is cut where no terminal sets a width.
_WIDTH_OF_A_PIPE = 1000


class Invocation:
    """Data goes to ``out`` (stdout), everything said about it to ``err`` (stderr)."""

    def __init__(self, open_deployment: OpenDeployment | None = None) -> None:
        self._open_deployment = open_deployment or RealDeployment
        self.arguments: tuple[str, ...] = ()  # as they were typed
        self.own_process = False  # or somebody's, who runs this command in it and goes on
        self.config_file: Path | None = None
        self.bootstrap_servers: str | None = None
        self.traceback = False
        self.out = _console(stderr=False)
        self.err = _console(stderr=True)
        self.kafka_away: LogUnavailable | None = None  # once it has not answered
        self.unasked: dict[str, TidelogError] = {}  # by site, why its store could not be asked
        self._said: set[str] = set()

    @cached_property
    def config(self) -> Config:
        """Read when first asked for. Raises `ConfigError`."""
        environ = dict(os.environ)
        if self.bootstrap_servers is not None:
            environ[BOOTSTRAP_VARIABLE] = self.bootstrap_servers
        config = Config.load(self.config_file, environ)
        if not config.is_set:
            self.say("there is no tidelog.toml here, and no setting in the environment: all is at its default", "dim")
        return config

    @cached_property
    def deployment(self) -> Deployment:
        """What the configuration reaches; closed at the end of the run."""
        return self._open_deployment(self.config)

    def open(self, config: Config) -> Deployment:
        """What another configuration reaches; whoever asks closes it."""
        return self._open_deployment(config)

    def say(self, text: str, style: str = "") -> None:
        """A line on stderr."""
        self.err.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    def say_once(self, text: str) -> None:
        """The same, unless this run has said it already."""
        if text not in self._said:
            self._said.add(text)
            self.say(text)

    def close(self) -> None:
        """Ends what was opened."""
        if "deployment" in self.__dict__:
            self.deployment.close()


def of(context: typer.Context) -> Invocation:
    """The invocation that a command runs in."""
    invocation = context.find_object(Invocation)
    assert invocation is not None  # `run` puts it there
    return invocation


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    # rich itself follows NO_COLOR, and colours nothing where there is no terminal.
    return Console(file=stream, width=None if stream.isatty() else _WIDTH_OF_A_PIPE)
