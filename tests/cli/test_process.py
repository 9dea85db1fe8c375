"""`tidelog` as a process: signals, pipes, terminals."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from tests.cli.operating import interruptible

ON_MEMORY = """
import sys, tidelog
from tidelog.gateways.cli import main
print("ready", file=sys.stderr, flush=True)
sys.exit(main(sys.argv[1:], lambda config: tidelog.MemoryDeployment(config)))
"""


class Process:
    """A command line in a process of its own, its stderr gathered as it comes."""

    def __init__(self, *arguments: str, code: str = ON_MEMORY) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=interruptible,
        )
        self.err = ""
        self._thread = threading.Thread(target=self._gather, daemon=True)
        self._thread.start()

    def _gather(self) -> None:
        assert self.popen.stderr is not None
        for line in self.popen.stderr:
            self.err += line

    def says(self, text: str, timeout_s: float = 30) -> None:
        deadline = time.monotonic() + timeout_s
        while text not in self.err:
            assert time.monotonic() < deadline and self.popen.poll() is None, self.err
            time.sleep(0.01)

    def end(self, number: int) -> int:
        self.popen.send_signal(number)
        code = self.popen.wait(30)
        self._thread.join(10)
        assert "Traceback" not in self.err
        return code


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_worker_stops_when_told(config_file, number, code):
    process = Process("-c", str(config_file), "site", "run", "osaka", "--sole")
    process.says("worker of site osaka starts")
    assert process.end(number) == code
    assert "has stopped" in process.err
    assert ("interrupted" in process.err) == (code == 130)


def test_ctrl_c_while_kafka_does_not_answer():
    process = Process(
        "-b",
        "localhost:1",
        "group",
        "list",
        code="import sys; from tidelog.gateways.cli import main\n"
        "print('ready', file=sys.stderr, flush=True)\nsys.exit(main())",
    )
    process.says("ready")
    time.sleep(0.8)  # anywhere: while importing or while connecting
    assert process.end(signal.SIGINT) == 130
    assert process.err.endswith("interrupted\n")


def test_what_is_not_configured_is_said(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("TIDELOG_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    command = [sys.executable, "-m", "tidelog", "config", "show"]
    assert "there is no tidelog.toml here" in subprocess.run(command, capture_output=True, text=True).stderr
    monkeypatch.setenv("TIDELOG_PREFIX", "mine")
    assert "no tidelog.toml" not in subprocess.run(command, capture_output=True, text=True).stderr


def test_ctrl_c_while_watching(config_file):
    process = Process("-c", str(config_file), "status", "--watch", "--interval", "100ms")
    process.says("ready")
    time.sleep(1.0)
    assert process.end(signal.SIGINT) == 130
    assert process.err.endswith("interrupted\n")


def test_a_reader_that_goes_away_is_no_accident(config_file):
    process = Process("-c", str(config_file), "status", "--watch", "--interval", "100ms", "--json")
    assert process.popen.stdout is not None
    process.popen.stdout.readline()
    process.popen.stdout.close()
    assert process.popen.wait(30) == 1
    assert "Traceback" not in process.err and "Exception ignored" not in process.err


def test_module_and_script_are_the_same_command():
    shown = subprocess.run([sys.executable, "-m", "tidelog", "--version"], capture_output=True, text=True, check=True)
    assert shown.stdout.startswith("tidelog ")
