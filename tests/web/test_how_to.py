"""docs/how-to/status-page.md: its commands, on a real Kafka and a real Redis, and the page in a browser."""

import json
import os
import re
import shlex
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.documents.conftest import config_file as config_file
from tests.documents.conftest import running as running
from tests.documents.pages import SITES
from tests.tools import tool
from tests.web.conftest import Page
from tests.web.scenes import PATIENCE_S, eventually
from tidelog.config import Config
from tidelog.testing.ports import available_port
from tidelog.testing.running import RunningDeployment

pytestmark = pytest.mark.servers
TEXT = (Path(__file__).parents[2] / "docs" / "how-to" / "status-page.md").read_text()
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL) for line in block.splitlines()]


@contextmanager
def serving(line: str, config_file: Path, folder: Path, port: int) -> Iterator[None]:
    """Runs one of the page's servers, at a port that is free, until it is left."""
    words = shlex.split(re.sub(r":8443\b", f":{port}", line))
    assert words[:3] == ["tidelog", "serve", "http"]
    more = [] if "--address" in words else ["--address", f"127.0.0.1:{port}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "tidelog", "-c", str(config_file), *words[1:], *more],
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        said = ""
        while "the status page is at" not in said:
            part = process.stderr.readline()
            assert part, said
            said += part
        yield
    finally:
        process.terminate()
        assert process.wait(PATIENCE_S) == 0
        process.stderr.close()


def test_the_page_names_commands_that_are_run_here() -> None:
    """So that none is added without a test."""
    assert [line.split()[0] for line in COMMANDS] == ["pip", "tidelog", "(umask", "tidelog", "curl"]
    assert COMMANDS[0].startswith("pip install '.[web]'")


def test_on_this_machine(page: Page, config_file: Path, running: RunningDeployment, tmp_path: Path) -> None:
    """A browser sees what is there, and a site that comes and goes."""
    group = running.group("bank")
    group.create_volume("ledger", "1MiB").write(0, b"all")
    group.mark("monday").wait(SITES, timeout=PATIENCE_S)
    port = available_port()
    with serving(COMMANDS[1], config_file, tmp_path, port):
        page.open(f"http://127.0.0.1:{port}/")
        page.says("#headline", "All is well", "1 group at 2 sites, 1 copy")
        page.says("#copies", "1 copy: 1 equal", "monday")
        page.says(".branches", *SITES, "streaming")
        assert "Locks are not known" not in page.text("#copies")
        running.stop_site("osaka")
        page.says(".branches", "stopped")
        group.mark("tuesday").wait(["tokyo"], timeout=PATIENCE_S)
        page.says("#copies", "tuesday", "waiting")
        running.site("osaka")
        page.says("#copies", "2 copies: 2 equal")
        page.says("#headline", "All is well")
        assert page.complaints() == []


def test_for_other_machines(
    config_file: Path, running: RunningDeployment, certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    """Token, which others cannot read, TLS, and a program that asks; without the token there is no answer."""
    assert running.deployment.cluster.find_group("bank")
    for source, name in zip(certificate, ("cert.pem", "key.pem"), strict=True):
        (tmp_path / name).symlink_to(source)
    path = f"{Path(tool('openssl')).parent}:{Path(tool('curl')).parent}:{os.environ['PATH']}"

    def shell(line: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["sh", "-c", line],
            cwd=tmp_path,
            env=os.environ | {"PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )

    assert shell(COMMANDS[2]).returncode == 0
    assert stat.S_IMODE((tmp_path / "status.token").stat().st_mode) == 0o600
    port = available_port()
    asking = COMMANDS[4].replace(":8443", f":{port}")
    with serving(COMMANDS[3], config_file, tmp_path, port):

        def groups() -> list[str]:
            answer = json.loads(shell(asking).stdout or "{}")
            return [group["group"] for group in answer.get("groups", [])]

        eventually(lambda: groups() == ["bank"], "the status by curl")
        refused = shell(re.sub(r"--header .*\" ", "", asking))
        assert refused.stdout == "a token is needed\n"


def test_the_example_is_a_configuration(tmp_path: Path) -> None:
    """The page's TOML loads as it stands, given the files that it names."""
    (example,) = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "status.token").write_text("0123456789abcdef\n")
    (tmp_path / "tidelog.toml").write_text(example)
    http = Config.load(tmp_path / "tidelog.toml", {}).http
    assert http.token is not None and http.token.get_secret_value() == "0123456789abcdef"
    assert http.tls_certfile == tmp_path / "secrets" / "cert.pem" and http.names == ("status.example",)
