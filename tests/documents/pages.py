"""The runbooks' commands, and how they are run."""

import re
import subprocess
import sys
from pathlib import Path

RUNBOOKS = Path(__file__).parents[2] / "docs" / "runbooks"
SITES = ("tokyo", "osaka")


def blocks(page: str) -> list[list[str]]:
    """The lines of each block of commands."""
    found = re.findall(r"```sh\n(.*?)```", (RUNBOOKS / page).read_text(), re.DOTALL)
    return [[line for line in block.splitlines() if line.strip()] for block in found]


def commands(page: str) -> list[list[str]]:
    """Every `tidelog ...` line of a page's blocks of commands."""
    lines = [line.split() for block in blocks(page) for line in block]
    assert lines and all(line[0] == "tidelog" for line in lines)
    return [line[1:] for line in lines]


def tidelog(config_file: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs one of them."""
    command = [sys.executable, "-m", "tidelog", "-c", str(config_file), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
