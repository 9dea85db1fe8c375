"""The site workers of the demo: real processes, `tidelog site run`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from tidelog.testing.child import ChildProcess


class Workers:
    """One worker process for each site; ends them all on leaving."""

    def __init__(self, config: Path, sites: Sequence[str]) -> None:
        self._config, self._sites = config, sites
        self._running: dict[str, ChildProcess] = {}

    def start(self, site: str) -> None:
        """Starts the worker of a site; its messages go to a file beside the configuration."""
        command = [sys.executable, "-m", "tidelog", "--config", str(self._config), "site", "run", site]
        self._running[site] = ChildProcess(f"worker of {site}", command, self._log(site))

    def kill(self, site: str) -> int:
        """SIGKILL, as a power cut would; the process id that died."""
        worker = self._running.pop(site)
        worker.kill()
        return worker.pid

    def messages(self) -> str:
        """What all workers have said."""
        logs = [self._log(site) for site in self._sites]
        return "".join(f"--- {log.stem}\n{log.read_text()}" for log in logs if log.exists())

    def _log(self, site: str) -> Path:
        return self._config.with_name(f"worker-{site}.log")

    def __enter__(self) -> Self:
        for site in self._sites:
            self.start(site)
        return self

    def __exit__(self, *exception: object) -> None:
        for worker in self._running.values():
            worker.terminate(timeout_s=20)
