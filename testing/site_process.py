"""A site's worker as a process of its own, to kill, to freeze, and to give another time of day."""

import sys
from pathlib import Path
from typing import ClassVar

from tidelog.testing.local_server import LocalServer
from tidelog.testing.stepped_clock import OFFSET_BYTES

STEPPED_CLOCK = Path(__file__).with_name("stepped_clock.py")


class SiteProcess(LocalServer):
    """`tidelog site run SITE --sole` on a configuration file. It runs as soon as it said so, whatever it can reach."""

    start_timeout_s: ClassVar[float] = 60.0
    stop_timeout_s: ClassVar[float] = 30.0

    def __init__(self, site: str, config_file: Path) -> None:
        super().__init__(f"worker-{site}", (), data_dir=None, runtime_dir=None, outlives_parent=False)
        self.site = site
        self._config_file = config_file
        self._offset_file = self.runtime_dir / "clock"
        self.set_clock(0.0)

    @property
    def description(self) -> str:
        return f"the worker of site {self.site} in a local process"

    def set_clock(self, seconds: float) -> None:
        """Its clock is so far ahead of this machine's from now on, behind it if negative, after a restart too."""
        data = round(seconds * 1_000_000_000).to_bytes(OFFSET_BYTES, "little", signed=True)
        with self._offset_file.open("r+b" if self._offset_file.exists() else "wb", buffering=0) as file:
            file.write(data)  # in place, in one write: the process has it mapped

    def _command(self) -> list[str]:
        run = ["tidelog", "-c", str(self._config_file), "site", "run", self.site, "--sole"]
        return [sys.executable, str(STEPPED_CLOCK), str(self._offset_file), *run]

    def _answers(self) -> bool:
        return f"worker of site {self.site} starts" in self._children[0].log_tail()
