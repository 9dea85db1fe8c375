"""docs/tutorial.md: all of it, in one shell, in order, on real servers; what it prints is what the page shows."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clean_stores import group_of_its_own
from tidelog.testing.running import RunningDeployment
from tidelog.testing.stack import stack_toml

PAGE = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text()
NEXT = "--- next block ---"
# The test's own servers and folder stand in for these.
LEFT_OUT = ("make ", "export ", "mkdir ", "cd ")


def blocks() -> list[tuple[str, str]]:
    """Language and text of each, in order."""
    return re.findall(r"```(\w+)\n(.*?)```", PAGE, re.DOTALL)


def shown(line: str) -> str:
    """A pattern of what the page shows. In a row of copies sequence, time and digests are others, and columns wider."""
    row = re.search(r"\d{4}-\d\d-\d\dT\S+Z", line)
    words = [re.escape(word) for word in line.split()]
    if row is not None:
        words[1:3] = [r"\d+", r"\S+Z"]
        words = [re.sub(r"^[0-9a-f]{12}$", "[0-9a-f]{12}", word) for word in words]
    return r"\s+".join(words)


@pytest.fixture
def folder(tidelog_deployment: RunningDeployment, tmp_path: Path) -> Iterator[Path]:
    """With `tidelog.toml` for the test's servers, and the page's programs; the group's name is the page's."""
    config = tidelog_deployment.deployment.config
    urls = {name: site.redis.url for name, site in config.sites.items()}
    servers = ",".join(config.kafka.bootstrap_servers)
    (tmp_path / "tidelog.toml").write_text(f'prefix = "{config.prefix}"\n{stack_toml(servers, urls)}')
    programs = [text for language, text in blocks() if language == "python"]
    for name, text in zip(re.findall(r"Save this as\s+`(\w+\.py)`", PAGE), programs, strict=True):
        (tmp_path / name).write_text(text)
    with group_of_its_own(urls.values(), "shop"):
        yield tmp_path


@pytest.mark.servers
@pytest.mark.timeout(300)
def test_the_page(folder: Path) -> None:
    """Every command ends well, and prints what stands under it."""
    script = [
        "set -e; trap 'kill $(jobs -p) 2>/dev/null || true' EXIT",
        f'export TIDELOG_CONFIG=$PWD/tidelog.toml PATH="{Path(sys.executable).parent}:$PATH"',
    ]
    expected: list[list[str]] = [[]]
    for language, text in blocks():
        if language == "sh":
            script += [line for line in text.splitlines() if not line.startswith(LEFT_OUT)] + [f"echo '{NEXT}'"]
            expected.append([])
        elif language == "text":
            expected[-2] += text.splitlines()
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)], cwd=folder, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    for wanted, printed in zip(expected, done.stdout.split(NEXT), strict=True):
        for line in wanted:
            assert re.search(rf"^{shown(line)}\s*$", printed, re.MULTILINE), (line, printed)
