"""docs/how-to/deploy.md: its commands are there, its files are there, and those that can be run here are."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from tidelog.gateways.cli.application import app
from tidelog.testing.stack import stack_toml

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "how-to" / "deploy.md").read_text()
LINES = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
# With something that is not in reach of a test: an engine with a registry, a service manager, a cluster.
ELSEWHERE = {"docker", "useradd", "install", "systemctl", "python3", "kubectl"}


def test_every_command_is_one_of_tidelogs_or_of_those_that_the_page_says_were_not_run() -> None:
    """And each of tidelog's is in its tree."""
    tree = typer.main.get_command(app)
    for line in LINES:
        program, *words = shlex.split(line)
        if program != "tidelog":
            assert program in ELSEWHERE, line
            continue
        command = tree
        for word in words[:2]:
            command = command.commands[word]  # type: ignore[attr-defined]


def test_every_file_that_it_names_is_there() -> None:
    """Of the repository."""
    named = {name.rstrip(".*/") for name in re.findall(r"\b(?:infra|tests|docs)/[\w@./*-]+", PAGE)}
    assert len(named) > 10 and [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_the_first_block_runs_without_a_kafka(tmp_path: Path) -> None:
    """As it stands; what it prints is a script of kafka-acls.sh."""
    urls = dict.fromkeys(("tokyo", "osaka"), "redis://127.0.0.1:1")
    (tmp_path / "tidelog.toml").write_text(stack_toml("127.0.0.1:1", urls))
    block = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)[0]
    here = re.sub(r"^tidelog ", f"{sys.executable} -m tidelog ", block, flags=re.MULTILINE)
    done = subprocess.run(["sh", "-ec", here], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert '"principal": "User:bank-app"' in done.stdout
    script = (tmp_path / "acls.sh").read_text().splitlines()
    assert {line.split()[0] for line in script} == {"#", "kafka-acls.sh"} and len(script) > 12


@pytest.mark.parametrize("role", ["writer", "site-NAME", "reader", "admin"])
def test_the_table_of_roles_is_that_of_the_code(role: str) -> None:
    """A role that is printed is explained."""
    assert f"\n| `{role}` |" in PAGE
