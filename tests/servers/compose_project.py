"""infra/compose.yaml as a compose runs it, beside whatever else runs here."""

import os
import subprocess
import uuid
from pathlib import Path

from tests.servers.conftest import compose_command

FILE = Path(__file__).parents[2] / "infra" / "compose.yaml"
VARIABLES = ("STACK_", "TIDELOG_", "COMPOSE_")


class Compose:
    """One project of compose.yaml, with ports of its own."""

    def __init__(self, **variables: str) -> None:
        self._project = f"tidelog-test-{uuid.uuid4().hex[:8]}"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(VARIABLES)}
        self._environment = inherited | variables

    def __call__(self, *arguments: str) -> str:
        command = [*compose_command(), "-p", self._project, "-f", str(FILE), *arguments]
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, timeout=150)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def health(self) -> dict[str, str]:
        """Of each container, by its service: what its health check says."""
        containers = self("ps", "-q").split()
        form = '{{index .Config.Labels "com.docker.compose.service"}} {{.State.Health.Status}}'
        done = subprocess.run(
            ["docker", "inspect", "-f", form, *containers], capture_output=True, text=True, check=True
        )
        return dict(line.split() for line in done.stdout.splitlines())
