"""The tests in docs/testing.md pass as they stand, in a project that has nothing but tidelog[testing], and the page
names every fixture and fault that there is."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tidelog.testing import fault_fixtures, fixtures, plugin
from tidelog.testing.faults import FaultyNetwork, FaultySite
from tidelog.testing.network import Link

PAGE = (Path(__file__).parents[2] / "docs" / "testing.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
# What fixtures stand on, and no test of an application asks for.
INNER = {"tidelog_site_redis", "tidelog_fault_servers", "tidelog_kafka_nodes"}


@pytest.mark.servers
@pytest.mark.timeout(600)
def test_the_tests_of_the_document_pass(tmp_path: Path) -> None:
    """All in one session, as a project would have them."""
    for number, example in enumerate(EXAMPLES):
        (tmp_path / f"test_user_{number}.py").write_text(example)
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=540)
    wanted = "".join(EXAMPLES).count("def test_")
    passed, skipped = (sum(map(int, re.findall(rf"(\d+) {word}", done.stdout))) for word in ("passed", "skipped"))
    assert done.returncode == 0 and passed + skipped == wanted >= 10, done.stdout + done.stderr
    excused = ["a small disk cannot be mounted here"] * ("a small disk cannot be mounted here" in done.stdout)
    if os.environ.get("CI") != "true" and not shutil.which("nbdcopy"):
        excused.append("nbdcopy is not here")
    assert skipped == len(excused) and all(reason in done.stdout for reason in excused), done.stdout


def test_every_fixture_and_fault_is_on_the_page() -> None:
    """Fixtures in the table and in an example; what faults offer by name."""
    there = {
        name for module in (plugin, fixtures, fault_fixtures) for name in vars(module) if name.startswith("tidelog_")
    }
    for name in there - INNER:
        assert f"`{name}`" in PAGE or f"`{name}(" in PAGE, name
        assert name in "".join(EXAMPLES) or name in ("tidelog_memory_deployment", "tidelog_redis_server"), name
    for kind in (FaultyNetwork, FaultySite):
        offered = {name for name in vars(kind) if not name.startswith("_") and name != "close"}
        offered |= {name for name in kind.__annotations__ if kind is FaultySite and name != "name"}
        assert [name for name in sorted(offered) if f".{name}" not in PAGE] == []
    assert all(f"`.{name}(" in PAGE for name in ("cut", "heal", "delay")) and hasattr(Link, "cut")
