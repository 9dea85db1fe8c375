"""How tests are dealt out, by a run of pytest with a worker and our `conftest.py`."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent
QUICK = "import pytest\n\ndef test_one(): pass\n\ndef test_two(): pass\n"
SLOW = f"{QUICK}\n@pytest.mark.servers\ndef test_three(): pass\n"
SHARING = f'{QUICK}\n@pytest.fixture(scope="module")\ndef shared(): pass\n\ndef test_three(shared): pass\n'
INI = "[pytest]\naddopts = --import-mode=importlib -p no:cacheprovider\nmarkers = servers\n"


def test_files_that_share_come_first_then_slow_ones_then_the_others(tmp_path: Path) -> None:
    folder = tmp_path / "tests"
    folder.mkdir()
    (tmp_path / "pytest.ini").write_text(INI)
    for name in ("conftest.py", "dealing.py"):
        shutil.copy(TESTS / name, folder)
    for name, text in (("quick", QUICK), ("slow", SLOW), ("sharing", SHARING), ("slow_2", SLOW)):
        (folder / f"test_{name}.py").write_text(text)
    command = [sys.executable, "-m", "pytest", "--verbose", "-n", "1", "--dist", "loadgroup", "tests"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    ran = re.findall(r"PASSED tests/test_(\w+)\.py::test_(\w+)", done.stdout)
    assert [file for file, _ in ran] == ["sharing"] * 3 + ["slow"] * 3 + ["slow_2"] * 3 + ["quick"] * 2
    assert [test for _, test in ran] == ["one", "two", "three"] * 3 + ["one", "two"]
