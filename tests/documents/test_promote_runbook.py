"""The commands of docs/runbooks/promote.md, as they stand, on real servers, each in the situation that it is for."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.documents.pages import blocks, tidelog
from tidelog.consumers.access import open_group
from tidelog.testing.child import DIE_WITH_PARENT
from tidelog.testing.readiness import wait_until
from tidelog.testing.running import RunningDeployment

APPLICATION = """
import sys, time, tidelog
from tidelog.errors import Fenced
group = tidelog.open_group("bank", config=sys.argv[1])
ledger = group.create_volume("ledger", "1MiB")
print("reads at", group.read_side.site, flush=True)
number = 0
try:
    while True:
        number += 1
        ledger.write(0, number.to_bytes(8, "big"))
        group.flush()
        print(number, flush=True)
        time.sleep(0.01)
except Fenced as error:
    print("fenced:", error, flush=True)
"""

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]


class Application:
    """The program above, as a process; ``said`` is what it has printed."""

    def __init__(self, config_file: Path, reads_at: str) -> None:
        launcher = [sys.executable, "-I", "-S", str(DIE_WITH_PARENT), str(os.getpid())]
        command = [*launcher, sys.executable, "-c", APPLICATION, str(config_file)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.said: list[str] = []
        threading.Thread(target=self._gather, daemon=True).start()
        assert wait_until(lambda: len(self.said) > 20, timeout_s=60), self.said
        assert self.said[0] == f"reads at {reads_at}\n"

    def _gather(self) -> None:
        assert self.process.stdout is not None
        self.said.extend(iter(self.process.stdout.readline, ""))

    def ended(self) -> tuple[int, str]:
        """Once it has: the number of its last flush, and what it was fenced by."""
        assert self.process.wait(60) == 0
        assert wait_until(lambda: self.said[-1].startswith("fenced: "), timeout_s=20), self.said[-3:]
        return int(self.said[-2]), self.said[-1]


def run(config_file: Path, block: list[str]) -> None:
    """Every command of a block must succeed."""
    for line in block:
        done = tidelog(config_file, *line.split()[1:])
        assert done.returncode == 0, (line, done.stdout, done.stderr)


def test_planned_back_and_forced(config_file: Path, running: RunningDeployment) -> None:
    planned, back, forced = blocks("promote.md")
    applications: list[Application] = []
    try:
        for block, before in ((planned, "tokyo"), (back, "osaka")):
            applications.append(Application(config_file, before))
            run(config_file, block)
            flushed, why = applications[-1].ended()
            assert "all that it had accepted is in the log" in why
        applications.append(Application(config_file, "tokyo"))
        os.kill(applications[-1].process.pid, signal.SIGSTOP)
        run(config_file, forced)
        with open_group("bank", deployment=running.deployment) as group:
            assert group.read_side.site == "osaka"
            os.kill(applications[-1].process.pid, signal.SIGCONT)
            flushed, why = applications[-1].ended()
            assert "promotion to osaka" in why
            assert int.from_bytes(group.volume("ledger").read(0, 8), "big") >= flushed
    finally:
        for application in applications:
            application.process.kill()
            application.process.wait(30)
