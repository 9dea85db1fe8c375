"""docs/how-to/sqlite.md: its code runs as it stands, in order, and so do its commands."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.documents.pages import tidelog
from tidelog.testing.running import RunningDeployment

pytestmark = [pytest.mark.servers, pytest.mark.timeout(180)]
PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "sqlite.md"
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE.read_text(), re.DOTALL)


def test_the_page_runs_as_it_stands(
    running: RunningDeployment, config_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each block of code in the names of those before it."""
    monkeypatch.chdir(config_file.parent)
    names: dict[str, Any] = {}
    for language, text in BLOCKS:
        if language == "sh":
            for line in text.splitlines():
                done = tidelog(config_file, *line.split()[1:])
                assert done.returncode == 0 and "month-end" in done.stdout, done.stdout + done.stderr
        else:
            exec(compile(text, str(PAGE), "exec"), names)
    printed = capsys.readouterr().out
    assert "not reached" not in printed and printed.endswith("True\n")
    names["group"].abandon()
    assert [language for language, _ in BLOCKS].count("python") == 6 and running.deployment.cluster.find_group("bank")
