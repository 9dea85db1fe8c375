"""The fixtures choose as promised, say what they chose, and cost a project that does not use them nothing."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from redis import Redis

from tests.cli.operating import Command
from tidelog.testing.identity import has_ended, process_identity
from tidelog.testing.ports import available_port
from tidelog.testing.processes import RedisServer
from tidelog.testing.readiness import kafka_answers, wait_until
from tidelog.testing.servers import KafkaServing

pytestmark = pytest.mark.servers

USES_REDIS = """
from redis import Redis

def test_uses_redis(tidelog_redis, tidelog_redis_server):
    Redis.from_url(tidelog_redis.url).set("letter", "a")
    assert Redis.from_url(tidelog_redis_server("other").url).get("letter") is None
"""
# Two tests, on a worker each, that are at work at the same time.
MEET = """
import time
from pathlib import Path
import pytest
from redis import Redis

@pytest.mark.parametrize("mine", ["a", "b"])
def test_meets(tidelog_redis, tidelog_redis_server, mine):
    def meet(what):
        Path(f"{what}-{mine}").touch()
        deadline = time.monotonic() + 60
        while not (Path(f"{what}-a").exists() and Path(f"{what}-b").exists()):
            assert time.monotonic() < deadline
            time.sleep(0.01)

    Redis.from_url(tidelog_redis.url).set("letter", mine)
    meet("wrote")
    assert Redis.from_url(tidelog_redis.url).get("letter") == mine.encode()
    assert Redis.from_url(tidelog_redis_server("other").url).get("letter") is None
    meet("took")  # else the first to end gives its databases back, and the other may take one of them
"""
WAITS = """
import time
from pathlib import Path
import pytest

@pytest.mark.parametrize("mine", ["a", "b"])
def test_waits(tidelog_redis, mine):
    Path(f"pid-{tidelog_redis.pid}").touch()
    time.sleep(120)
"""
KILLS = "def test_kills(tidelog_redis):\n    tidelog_redis.kill()\n"
USES_A_GROUP = """
def test_uses_a_group(tidelog_kafka, tidelog_group, tidelog_site):
    tidelog_site("osaka")
    tidelog_group.create_volume("v", "64KiB").write(0, b"hello")
    tidelog_group.mark("noon").wait(["osaka"], timeout=60)
    copy = tidelog_site("osaka").group(tidelog_group.name).copy("noon")
    assert copy.volume("v").read(0, 5) == b"hello"
    print("GIVEN", tidelog_kafka.bootstrap_servers, tidelog_kafka.kind)

def test_kills(tidelog_kafka):
    tidelog_kafka.kill()
"""
NOWHERE = "unix:///nowhere/docker.sock"


def clean_environment() -> dict[str, str]:
    """Without what chooses servers, and what says that this is a worker of pytest-xdist."""
    ours = ("TIDELOG_TEST_", "PYTEST_XDIST_")
    return {name: value for name, value in os.environ.items() if name != "CI" and not name.startswith(ours)}


def run(folder: Path, test: str, *options: str, **environment: str) -> tuple[int, str]:
    (folder / "test_user.py").write_text(test)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, "test_user.py"]
    env = clean_environment() | environment
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout


def test_without_an_engine_processes_serve_and_the_summary_says_so(tmp_path: Path) -> None:
    code, output = run(tmp_path, USES_REDIS, DOCKER_HOST=NOWHERE)
    assert code == 0, output
    assert "tidelog servers: 2 x Redis" in output
    assert "in a local process" in output


@pytest.mark.usefixtures("docker_engine")
def test_with_an_engine_containers_serve(tmp_path: Path) -> None:
    code, output = run(tmp_path, USES_REDIS)
    assert code == 0, output
    assert "in a container (image" in output


def test_in_ci_a_missing_engine_is_a_failure(tmp_path: Path) -> None:
    code, output = run(tmp_path, USES_REDIS, DOCKER_HOST=NOWHERE, CI="true")
    assert code == 1
    assert "no Docker engine answers, and CI=true" in output
    assert "skipped" not in output


@pytest.mark.parametrize(
    ("choice", "message"),
    [("containers", "asks for one"), ("pods", "it can be containers, processes or auto")],
)
def test_a_choice_that_cannot_be_is_a_failure(tmp_path: Path, choice: str, message: str) -> None:
    code, output = run(tmp_path, USES_REDIS, DOCKER_HOST=NOWHERE, TIDELOG_TEST_SERVERS=choice)
    assert code == 1
    assert message in output


def test_a_given_redis_is_used_and_left_empty(tmp_path: Path) -> None:
    with RedisServer() as server:
        code, output = run(tmp_path, USES_REDIS, TIDELOG_TEST_REDIS=server.url)
        assert code == 0, output
        assert f"Redis at redis://127.0.0.1:{server.port}/1" in output
        assert Redis.from_url(server.url).info("keyspace") == {}
        code, output = run(tmp_path, KILLS, TIDELOG_TEST_REDIS=server.url)
        assert code == 1
        assert "refusing to kill" in output


def test_workers_side_by_side_have_servers_of_their_own(tmp_path: Path) -> None:
    """The summary tells of both workers' servers; of a given Redis each takes other databases."""
    code, output = run(tmp_path, MEET, "-n", "2", DOCKER_HOST=NOWHERE)
    assert code == 0 and "2 passed" in output, output
    assert "tidelog servers: 4 x Redis" in output
    for file in (*tmp_path.glob("wrote-*"), *tmp_path.glob("took-*")):
        file.unlink()
    with RedisServer() as server:
        code, output = run(tmp_path, MEET, "-n", "2", TIDELOG_TEST_REDIS=server.url)
        assert code == 0 and "2 passed" in output, output
        assert output.count(f"Redis at redis://127.0.0.1:{server.port}/") == 4
        assert Redis.from_url(server.url).info("keyspace") == {}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_session_with_workers_that_is_ended_leaves_no_server(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C in a terminal goes to all; the other two reach the session that started the workers only."""
    (tmp_path / "test_user.py").write_text(WAITS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "2", "test_user.py"]
    session = Command(command, cwd=tmp_path, env=clean_environment() | {"DOCKER_HOST": NOWHERE})
    try:
        session.reaches(lambda: len(list(tmp_path.glob("pid-*"))) == 2, "servers of both workers")
        servers = [file.name.removeprefix("pid-") for file in tmp_path.glob("pid-*")]
        identities = [process_identity(int(pid)) or "" for pid in servers]
        assert all(identities)
        if number is signal.SIGINT:
            os.killpg(session.popen.pid, number)
        else:
            session.popen.send_signal(number)
        session.popen.wait(60)
        assert wait_until(lambda: all(map(has_ended, identities)), timeout_s=40)
    finally:
        session.kill()


def test_a_given_kafka_is_used_and_left_running(tmp_path: Path, tidelog_kafka: KafkaServing) -> None:
    """A group and a site on it; no broker is started, and what was given is not killed."""
    given = tidelog_kafka.bootstrap_servers
    with RedisServer() as server:
        urls = {"TIDELOG_TEST_KAFKA": given, "TIDELOG_TEST_REDIS": server.url}
        code, output = run(tmp_path, USES_A_GROUP, DOCKER_HOST=NOWHERE, PYTEST_ADDOPTS="-rA", **urls)
    assert code == 1 and "1 failed, 1 passed" in output, output
    assert f"GIVEN {given} existing" in output
    assert f"tidelog servers: Kafka at {given}, " in output and "Kafka 4" not in output
    assert f"Kafka at {given} was given, not started by us: refusing to kill it" in output
    assert kafka_answers(given) and tidelog_kafka.running


def test_a_given_kafka_that_does_not_answer_is_a_failure(tmp_path: Path) -> None:
    """No other broker is taken in its place."""
    code, output = run(tmp_path, KILLS.replace("redis", "kafka"), TIDELOG_TEST_KAFKA=f"127.0.0.1:{available_port()}")
    assert code == 1 and "gives no answer within 10 s" in output and "1 error" in output, output


def test_a_given_redis_with_data_in_it_is_refused_and_untouched(tmp_path: Path) -> None:
    with RedisServer() as server:
        Redis.from_url(server.url).set("precious", "1")
        code, output = run(tmp_path, USES_REDIS, TIDELOG_TEST_REDIS=server.url)
        assert code == 1
        assert "holds 1 keys" in output
        assert Redis.from_url(server.url).get("precious") == b"1"


def test_a_project_that_uses_no_fixture_imports_no_client() -> None:
    heavy = "{'docker', 'testcontainers', 'kafka', 'redis', 'fastavro', 'pydantic'}"
    code = f"import sys, tidelog.testing.plugin; sys.exit(', '.join({heavy} & set(sys.modules)) or 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
