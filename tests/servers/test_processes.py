"""What holds for child processes only: their folders, their parent, their ports."""

import os
import random
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError
from redis.retry import Retry

from tidelog.testing.identity import has_ended, own_identity, process_identity
from tidelog.testing.ports import PORTS, available_port, own_ports, port_owner, require_free
from tidelog.testing.processes import KafkaServer, RedisServer
from tidelog.testing.readiness import wait_until
from tidelog.testing.servers import PortTaken, ServerError

pytestmark = pytest.mark.servers

# Starts two servers, one by a thread that ends at once, says what they are, and does what it is told.
PARENT = """
import sys, threading
from tidelog.testing.processes import RedisServer
servers = [RedisServer(), RedisServer()]
servers[0].start()
thread = threading.Thread(target=servers[1].start)
thread.start(); thread.join()
for server in servers:
    print(server.pid, server.runtime_dir, flush=True)
if sys.argv[1] == "wait":
    sys.stdin.read()
"""


def parent(then: str) -> tuple[subprocess.Popen[str], list[str], list[Path]]:
    command = [sys.executable, "-c", PARENT, then]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    words = [process.stdout.readline().split() for _ in range(2)]
    identities = [process_identity(int(pid)) or "" for pid, _ in words]
    return process, identities, [Path(folder) for _, folder in words]


def test_children_die_with_a_parent_that_is_killed() -> None:
    process, identities, folders = parent("wait")
    assert all(identities)
    process.kill()
    process.wait()
    assert wait_until(lambda: all(has_ended(identity) for identity in identities), timeout_s=5)
    for folder in folders:  # a killed parent cannot; this test can
        subprocess.run(["rm", "-r", str(folder)], check=True)


def test_a_parent_that_exits_leaves_neither_processes_nor_folders() -> None:
    process, identities, folders = parent("exit")
    process.communicate()
    assert process.returncode == 0
    assert all(has_ended(identity) for identity in identities if identity)
    assert not any(folder.exists() for folder in folders)


def test_a_fork_of_the_parent_that_exits_ends_no_server() -> None:
    with RedisServer() as server:
        code = "import os, sys; from tidelog.testing.processes import RedisServer\n"
        code += "with RedisServer() as server:\n  pid = os.fork()\n  if pid == 0: sys.exit(0)\n"
        code += "  os.waitpid(pid, 0); server.restart(); assert server.runtime_dir.exists()\n"
        subprocess.run([sys.executable, "-c", code], check=True)
        assert server.running


def test_a_server_started_by_a_thread_outlives_the_thread() -> None:
    server = RedisServer()
    thread = threading.Thread(target=server.start)
    thread.start()
    thread.join()
    with server:
        assert Redis.from_url(server.unix_url).ping()


def test_a_given_data_folder_is_kept_and_used_again(tmp_path: Path) -> None:
    with RedisServer(data_dir=tmp_path / "data", appendonly="always") as server:
        Redis.from_url(server.url).set("letter", "a")
    assert not server.runtime_dir.exists()
    with RedisServer(data_dir=tmp_path / "data", appendonly="always", binary="auto") as server:
        assert Redis.from_url(server.unix_url).get("letter") == b"a"


def test_both_addresses_reach_the_same_redis_and_need_the_password() -> None:
    with RedisServer(password="öffne: dich@/ #1%") as server:
        Redis.from_url(server.unix_url).set("letter", "a")
        assert Redis.from_url(server.url).get("letter") == b"a"
        with pytest.raises(AuthenticationError):
            Redis(port=server.port, retry=Retry(NoBackoff(), 0)).get("letter")


def test_kafka_says_who_has_its_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", available_port())) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken, match=f"port {port} is taken by .*pid {os.getpid()}"):
            KafkaServer(port=port, data_dir=tmp_path).start()
    assert list(tmp_path.iterdir()) == []


def test_kafka_that_refuses_its_settings_shows_why() -> None:
    server = KafkaServer(options={"process.roles": "astronaut"})
    with pytest.raises(ServerError, match=r"process\.roles"):
        server.start()
    server.close()
    assert not server.runtime_dir.exists()


def test_an_available_port_is_free_and_below_the_ephemeral_range() -> None:
    port = available_port()
    assert port in PORTS
    require_free(port, "a test")
    assert port_owner(port) == "another process"


def test_workers_side_by_side_have_ports_of_their_own() -> None:
    """None that another has, also a worker in place of one that died; alone there are all."""
    assert own_ports({}) == own_ports({"PYTEST_XDIST_WORKER": "master"}) == PORTS
    shares = [own_ports({"PYTEST_XDIST_WORKER": f"gw{i}", "PYTEST_XDIST_WORKER_COUNT": "3"}) for i in range(4)]
    assert shares[3] == shares[0]
    assert len({port for share in shares for port in share}) == 3 * len(shares[0]) > 0.99 * len(PORTS)
    assert {port for share in shares for port in share} <= set(PORTS)


def test_a_seeded_generator_does_not_choose_the_ports() -> None:
    """Test suites seed Python's own one, each of their processes alike."""
    found = set()
    for _ in range(5):
        random.seed(0)
        found.add(available_port())
    assert len(found) > 1


def test_a_process_number_used_again_is_another_process() -> None:
    boot, namespace, pid, start = own_identity().split("/")
    assert not has_ended(own_identity())
    assert has_ended(f"{boot}/{namespace}/{pid}/{int(start) + 1}")
    assert has_ended(f"another-boot/{namespace}/{pid}/{start}")
    assert not has_ended(f"{boot}/1/{pid}/{start}")  # of another namespace nothing can be seen
    child = subprocess.Popen(["sleep", "60"])
    identity = process_identity(child.pid)
    assert identity is not None
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert has_ended(identity)
