"""infra/systemd: units that systemd reads without a word, hardened, whose commands and exit codes are tidelog's."""

import configparser
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from tests.tools import tool
from tidelog.config import Config
from tidelog.gateways.cli.application import app
from tidelog.gateways.cli.exit_codes import EXIT_CODES

UNITS = Path(__file__).parents[2] / "infra" / "systemd"
SERVICES = sorted(UNITS.glob("*.service"))
PROGRAM = "/opt/tidelog/bin/tidelog"
EXPOSURE_MAX = 20  # tenths; an unhardened service has 96


def unit(path: Path) -> configparser.RawConfigParser:
    """A unit file; of a key that may stand several times the last one."""
    parser = configparser.RawConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(path)
    return parser


@pytest.fixture
def instances(tmp_path: Path) -> list[Path]:
    """The units as installed: with a program that is there, templates with an instance."""
    placed = []
    for path in sorted(UNITS.iterdir()):
        target = tmp_path / path.name.replace("@.", "@tokyo.")
        target.write_text(path.read_text().replace(PROGRAM, str(Path(sys.executable).with_name("tidelog"))))
        placed.append(target)
    return placed


def test_systemd_reads_them_without_a_word(instances: list[Path]) -> None:
    """An unknown or misspelt key is a warning there, and no failure; here it is one."""
    done = subprocess.run(
        [tool("systemd-analyze"), "verify", "--man=no", *map(str, instances)], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_they_are_hardened(instances: list[Path]) -> None:
    """By systemd's own measure."""
    services = [path for path in instances if path.suffix == ".service"]
    assert len(services) == len(SERVICES) >= 4
    for path in services:
        command = [tool("systemd-analyze"), "security", "--offline=true", f"--threshold={EXPOSURE_MAX}", str(path)]
        done = subprocess.run([*command, "--no-pager"], capture_output=True, text=True)
        assert done.returncode == 0, (path.name, done.stdout[-400:], done.stderr)


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.name)
def test_the_commands_are_tidelogs(path: Path) -> None:
    """And run as nobody else, with the configuration from /etc; what a restart cannot mend is not tried again."""
    service = unit(path)["Service"]
    program, *words = service["ExecStart"].split()
    assert program == PROGRAM and service["User"] == "tidelog"
    assert service["Environment"] == "TIDELOG_CONFIG=/etc/tidelog/tidelog.toml"
    command: Any = typer.main.get_command(app)
    while words and words[0] in getattr(command, "commands", ()):
        command = command.commands[words.pop(0)]
    for word in re.findall(r"\$(\w+)", service["ExecStart"]):  # given by an EnvironmentFile, so tidelog sees it, too
        Config.load(None, {word: "--read-only"})
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("-")} <= known
    assert {word for word in words if not word.startswith(("-", "$"))} <= {"%i"}
    prevented = {int(code) for code in service.get("RestartPreventExitStatus", "").split()}
    assert prevented <= set(EXIT_CODES) and (service["Type"] == "oneshot" or {2, 10} <= prevented)


def test_a_worker_says_when_it_is_ready() -> None:
    """As `tests/cli/test_notifying.py` hears it; a Kafka that is away must not make its start fail."""
    service = unit(UNITS / "tidelog-site@.service")["Service"]
    assert (service["Type"], service["NotifyAccess"], service["TimeoutStartSec"]) == ("notify", "main", "infinity")
    assert service["WatchdogSec"] and int(service["TimeoutStopSec"]) > 30


def test_a_worker_can_count_itself() -> None:
    """prometheus-client reads /proc/stat, which is not in a /proc of processes alone."""
    assert "ProcSubset" not in unit(UNITS / "tidelog-site@.service")["Service"]


def test_block_devices_have_time_to_end() -> None:
    """While the log is away: the commands that came, the last flush, and the session's end wait for it in turn."""
    service = unit(UNITS / "tidelog-nbd@.service")["Service"]
    assert int(service["TimeoutStopSec"]) > 3 * Config.load(None, {}).writer.write_timeout + 5


def test_the_timer_has_its_service() -> None:
    """By name, as systemd goes."""
    assert unit(UNITS / "tidelog-check.timer")["Timer"]["OnUnitActiveSec"] == "1min"
    assert (UNITS / "tidelog-check.service").exists()
    named = set(re.findall(r"infra/systemd/[\w@.-]+", (UNITS.parents[1] / "docs/how-to/deploy.md").read_text()))
    assert named and all((UNITS.parents[1] / name.rstrip(".")).exists() for name in named)
