"""docs/runbooks/any-point-in-time.md: its commands and its Python, in order, on real servers."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clean_stores import group_of_its_own
from tidelog.testing.running import RunningDeployment
from tidelog.testing.stack import stack_toml

PAGE = (Path(__file__).parents[2] / "docs" / "runbooks" / "any-point-in-time.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def folder(tidelog_deployment: RunningDeployment, tmp_path: Path) -> Iterator[Path]:
    """Where the commands are given, with `tidelog.toml` for the test's own servers; the group's name is the page's."""
    config = tidelog_deployment.deployment.config
    urls = {name: site.redis.url for name, site in config.sites.items()}
    servers = ",".join(config.kafka.bootstrap_servers)
    (tmp_path / "tidelog.toml").write_text(
        f'prefix = "{config.prefix}"\nprimary = "tokyo"\n{stack_toml(servers, urls)}'
    )
    with group_of_its_own(urls.values(), "bank"):
        yield tmp_path


def run(folder: Path, line: str, stdin: bytes = b"") -> bytes:
    command = [sys.executable, "-m", "tidelog", *line.split()[1:]]
    done = subprocess.run(command, cwd=folder, input=stdin, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, (line, done.stdout, done.stderr)
    return done.stdout


@pytest.mark.servers
@pytest.mark.timeout(300)
def test_the_page(folder: Path, tidelog_deployment: RunningDeployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Good data, damage, and the way back. The page's sequence 6 is the damage's, unless heartbeats have moved it."""
    run(folder, "tidelog group create bank")
    for site in ("tokyo", "osaka"):
        tidelog_deployment.wait_for_store(site, "bank")
    run(folder, "tidelog volume create ledger -g bank --size 1MiB")
    run(folder, "tidelog volume write ledger -g bank", b"good")
    run(folder, "tidelog volume write ledger -g bank", b"damage")
    shown = [json.loads(line) for line in run(folder, "tidelog log show bank --json").splitlines()]
    damage = str([event["sequence"] for event in shown if event["kind"] == "WriteBatch"][-1])
    seen = {}
    for line in "".join(blocks("sh")).splitlines():
        if line.startswith("tidelog volume import"):
            monkeypatch.chdir(folder)
            names: dict[str, object] = {}
            exec(compile(blocks("python")[0], "any-point-in-time.md", "exec"), names)
            assert names["first"] == b"good".ljust(64, b"\0")
        seen[line] = run(folder, re.sub(r"(--before-event|--sequence) 6$", rf"\1 {damage}", line))
    (content,) = (out for line, out in seen.items() if line.startswith("tidelog clone read"))
    assert content == b"good".ljust(64, b"\0")
    assert (folder / "ledger.img").read_bytes() == b"good".ljust(1 << 20, b"\0")
    assert any(b"ready" in out for line, out in seen.items() if line.startswith("tidelog clone list"))
    now = run(folder, "tidelog log show bank --json").splitlines()
    osaka = tidelog_deployment.site("osaka").group("bank")
    assert osaka.wait_until(max(json.loads(line)["last_sequence"] for line in now))
    assert osaka.volume("ledger").read(0, 6) == b"good\0\0" and osaka.clones() == []
