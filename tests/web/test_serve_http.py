"""`tidelog serve http` as a process: it says where it is, ends when told, and refuses what is not safe."""

import re
import signal
import socket
import sys
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.cli.test_process import Process
from tests.web.scenes import PATIENCE_S, eventually
from tidelog.gateways.cli import main

TOML = '[sites.tokyo.redis]\nurl = "redis://memory"\n'


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    path = tmp_path / "tidelog.toml"
    path.write_text(TOML)
    return path


def get(port: int, path: str) -> tuple[int, bytes]:
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    connection.request("GET", path)
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_it_serves_until_told(config_file: Path, number: int, code: int) -> None:
    """With a page open that follows its events."""
    process = Process("-c", str(config_file), "serve", "http", "--address", "127.0.0.1:0")
    process.says("the status page is at", timeout_s=PATIENCE_S)
    (port,) = re.findall(r"http://127\.0\.0\.1:(\d+)/", process.err)
    eventually(lambda: get(int(port), "/readyz")[0] == 200, "it is ready")
    assert b"<!doctype html>" in get(int(port), "/")[1]
    follower = HTTPConnection("127.0.0.1", int(port), timeout=PATIENCE_S)
    follower.request("GET", "/api/v1/events")
    assert follower.getresponse().readline() == b"event: look\n"
    assert process.end(number) == code
    assert "the status page has ended" in process.err
    assert ("interrupted" in process.err) == (code == 130)


def test_without_kafka_it_serves_and_says_so(config_file: Path) -> None:
    """It starts, is alive and not ready, and ends at once when told, though a look is under way."""
    script = "import sys; from tidelog.gateways.cli import main; sys.exit(main())"
    process = Process("-c", str(config_file), "-b", "localhost:1", "serve", "http", "-a", "127.0.0.1:0", code=script)
    process.says("the status page is at", timeout_s=PATIENCE_S)
    (port,) = re.findall(r"http://127\.0\.0\.1:(\d+)/", process.err)
    assert get(int(port), "/healthz")[0] == 200
    status, said = get(int(port), "/api/v1/status")
    assert status == 503 and b"error" in said and get(int(port), "/readyz")[0] == 503
    assert process.end(signal.SIGTERM) == 0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("-a", "0.0.0.0:8080"), 2, "no token and no TLS"),
        (("-a", "8080"), 10, "host:port"),
        (("--token-file", "nowhere"), 10, "cannot be read"),
        (("--tls-cert", "cert.pem"), 10, "needs both"),
    ],
)
def test_what_is_refused(
    config_file: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int, said: str
) -> None:
    """With one sentence, before anything listens."""
    assert main(["-c", str(config_file), "serve", "http", *arguments]) == code
    told = capsys.readouterr().err
    assert said in told and "Traceback" not in told


def test_a_port_in_use(config_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Says which, and how to take another."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert main(["-c", str(config_file), "serve", "http", "-a", address]) == 2
    told = capsys.readouterr().err
    assert address in told and "--address" in told


def test_without_the_extra(
    config_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What to install."""
    for name in [name for name in sys.modules if name.startswith("tidelog.gateways.web")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "starlette", None)
    monkeypatch.setitem(sys.modules, "starlette.applications", None)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert main(["-c", str(config_file), "serve", "http"]) == 2
    assert "pip install 'tidelog[web]'" in capsys.readouterr().err
