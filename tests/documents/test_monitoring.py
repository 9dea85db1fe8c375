"""docs/how-to/monitoring.md: its commands run, its configurations are taken, and what it links is there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.cli.operating import Command
from tests.documents.pages import tidelog
from tests.tools import tool
from tidelog.config import Config
from tidelog.testing.readiness import wait_until

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "how-to" / "monitoring.md"
pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)


@pytest.mark.usefixtures("running")
def test_every_command_runs(config_file: Path) -> None:
    """On a group that is well; the one that goes on is looked at, and interrupted."""
    commands = [line.split()[1:] for block in blocks("sh") for line in block.splitlines()]
    assert wait_until(lambda: tidelog(config_file, "check").returncode == 0, timeout_s=60)
    assert ["status", "--watch"] in commands and ["metrics"] in commands
    for arguments in commands:
        if "--watch" in arguments:
            watched = Command([sys.executable, "-m", "tidelog", "-c", str(config_file), *arguments])
            try:
                watched.reaches(lambda found=watched: found.out.count(b"group bank") >= 2, "a second screen")
                watched.interrupt()
            finally:
                watched.kill()
            continue
        done: list[subprocess.CompletedProcess[str]] = []

        def well(arguments: list[str] = arguments, done: list[subprocess.CompletedProcess[str]] = done) -> bool:
            done.append(tidelog(config_file, *arguments))
            return done[-1].returncode == 0

        assert wait_until(well, timeout_s=60), (arguments, done[-1])
        assert "tidelog_observer_up 1.0" in done[-1].stdout or done[-1].stdout.startswith("TIDELOG OK - 1 group")


def test_its_configurations_are_taken(tmp_path: Path) -> None:
    """By tidelog, and by Prometheus, with the rules where the page has them."""
    (toml,) = blocks("toml")
    (tmp_path / "tidelog.toml").write_text(toml)
    assert Config.load(tmp_path / "tidelog.toml", {}).metrics.listen == "127.0.0.1:9464"
    (written,) = blocks("yaml")
    found = yaml.safe_load(written)
    found["rule_files"] = [str(ROOT / name) for name in found["rule_files"]]
    (tmp_path / "prometheus.yaml").write_text(yaml.safe_dump(found))
    command = [tool("promtool"), "check", "config", str(tmp_path / "prometheus.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 and "1 rule files found" in done.stdout + done.stderr, done.stdout + done.stderr


def test_what_it_links_is_there() -> None:
    """Files, and promtool's command."""
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", PAGE.read_text())]
    assert links and all((PAGE.parent / link).exists() for link in links)
    assert (ROOT / "infra" / "prometheus" / "tests" / "tidelog.yaml").exists()
