"""Pages whose commands are run in one shell, in order, as a reader would."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.clean_stores import group_of_its_own
from tests.servers.test_stack import available_ports
from tidelog.testing.running import RunningDeployment
from tidelog.testing.stack import stack_toml

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
_NEXT = "--- next block ---"
# What `make`, a stack or a command would take from the environment of the tests.
_NOT_THEIRS = ("TIDELOG_", "STACK_", "MAKE", "MFLAGS")


def blocks(page: str) -> list[tuple[str, str]]:
    """Language and text of each, in order."""
    return re.findall(r"```(\w+)\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)


@contextmanager
def folder_for(running: RunningDeployment, folder: Path, group: str) -> Iterator[Path]:
    """Where the page's commands are given: with `tidelog.toml` for the test's servers; no other group is so named."""
    config = running.deployment.config
    urls = {name: site.redis.url for name, site in config.sites.items()}
    servers = ",".join(config.kafka.bootstrap_servers)
    toml = f'prefix = "{config.prefix}"\nprimary = "tokyo"\n{stack_toml(servers, urls)}'
    (folder / "tidelog.toml").write_text(toml)
    with group_of_its_own(urls.values(), group):
        yield folder


def installed(folder: Path) -> dict[str, str]:
    """Makes ``folder`` what `make setup` leaves of the repository, by links: its Makefile, its stack, and the
    environment of the tests for `.venv`. The environment variables for it: a stack there has ports of its own."""
    for name in ("Makefile", "pyproject.toml", "infra"):
        (folder / name).symlink_to(ROOT / name)
    (folder / ".venv").mkdir()
    for path in Path(sys.prefix).iterdir():
        if path.name != ".installed":
            (folder / ".venv" / path.name).symlink_to(path)
    (folder / ".venv" / ".installed").touch()  # newer than pyproject.toml: there is nothing to install
    ports = {"STACK_KAFKA_PORT": str(available_ports(2)), "STACK_REDIS_PORT": str(available_ports(3))}
    return {name: value for name, value in os.environ.items() if not name.startswith(_NOT_THEIRS)} | ports


def run_page(page: str, folder: Path, environment: Mapping[str, str]) -> None:
    """Every command is run as it stands, ends well, and prints what stands in the block of ``text`` under it. Python
    that has no file to be saved to is run where it stands."""
    saved = re.findall(r"Save this as\s+`(\w+\.py)`", (DOCS / page).read_text())
    script = ["set -e; trap 'kill $(jobs -p) 2>/dev/null || true' EXIT"]
    expected: list[list[str]] = [[]]
    for language, text in blocks(page):
        if language == "sh":
            script += [text.rstrip("\n"), f"echo '{_NEXT}'"]
            expected.append([])
        elif language == "text":
            expected[-2] += text.splitlines()
        elif language == "python":
            command = f"cat > {saved.pop(0)}" if saved else "python -"
            script += [f"{command} <<'PYTHON'", text.rstrip("\n"), "PYTHON"]
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    for wanted, printed in zip(expected, done.stdout.split(_NEXT), strict=True):
        for line in wanted:
            assert re.search(rf"^{_shown(line)}\s*$", printed, re.MULTILINE), (line, printed)


def _shown(line: str) -> str:
    """A pattern of what the page shows. In a row of copies sequence, time and digests are others, and columns wider."""
    row = re.search(r"\d{4}-\d\d-\d\dT\S+Z", line)
    words = [re.escape(word) for word in line.split()]
    if row is not None:
        words[1:3] = [r"\d+", r"\S+Z"]
        words = [re.sub(r"^[0-9a-f]{12}$", "[0-9a-f]{12}", word) for word in words]
    return r"\s+".join(words)
