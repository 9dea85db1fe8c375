"""Kafka is lost in the middle of a command: it ends with 11 and one sentence, or with 130 on Ctrl-C; never by waiting
for ever, never with a traceback."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.losing_kafka import kafka_to_lose, operator_on
from tests.cli.operating import Command, Operator
from tidelog.testing.processes import KafkaServer

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]
MIB = 1024 * 1024
# Write and request timeouts of the configuration below, and what a loaded machine adds.
BOUND_S = 60.0


@pytest.fixture
def kafka() -> Iterator[KafkaServer]:
    """One to be killed."""
    with kafka_to_lose() as server:
        yield server


@pytest.fixture
def operator(kafka: KafkaServer, tmp_path: Path) -> Iterator[Operator]:
    with operator_on(kafka, tmp_path, "3s") as made:
        made.ok("volume", "create", "disk", "-g", "bank", "--size", "64MiB")
        yield made


def writing(operator: Operator) -> Command:
    """A `volume write` that has taken 8 MiB of a stream, and waits for more."""
    command = Command(operator.line("volume", "write", "disk", "-g", "bank"))
    assert command.popen.stdin is not None
    command.popen.stdin.write(os.urandom(8 * MIB))
    command.popen.stdin.flush()
    return command


def test_kafka_dies_under_a_command(kafka: KafkaServer, operator: Operator) -> None:
    """Of a write it is said that it is unknown; whoever only looks says who does not answer."""
    commands = {
        "write": writing(operator),
        "follow": Command(operator.line("log", "show", "bank", "--follow")),
        "watch": Command(operator.line("status", "--watch", "--interval", "100ms")),
    }
    try:
        commands["follow"].reaches(lambda: b"VolumeCreated" in commands["follow"].out, "the log's end")
        commands["watch"].reaches(lambda: b"group bank" in commands["watch"].out, "watching")
        kafka.kill()
        stdin = commands["write"].popen.stdin
        assert stdin is not None
        stdin.write(b"x" * MIB)
        stdin.close()
        for name, command in commands.items():
            code = command.popen.wait(BOUND_S)
            command.gathered()
            said = command.err.decode()
            assert code == 11 and said.count("error: ") == 1 and "hint: " in said, (name, code, said)
            assert "Traceback" not in said and "Exception ignored" not in said, (name, said)
        assert "may or may not be in the log" in commands["write"].err.decode()
    finally:
        for command in commands.values():
            command.kill()


def test_ctrl_c_while_kafka_hangs(kafka: KafkaServer, operator: Operator) -> None:
    """A broker that answers nothing: the interrupt does not wait for it."""
    command = writing(operator)
    looking = None
    try:
        assert kafka.pid is not None
        os.kill(kafka.pid, signal.SIGSTOP)
        assert command.popen.stdin is not None
        command.popen.stdin.write(os.urandom(4 * MIB))
        command.popen.stdin.flush()
        assert command.interrupt() == "interrupted\n"
        looking = Command(operator.line("status"))
        looking.reaches(lambda: _connects(looking.popen.pid, kafka), "connecting")
        assert looking.interrupt() == "interrupted\n"
    finally:
        for one in (command, *((looking,) if looking else ())):
            one.kill()


def _connects(pid: int, kafka: KafkaServer) -> bool:
    """Whether the process has a connection to the broker, which accepts it without running."""
    port = f":{int(kafka.bootstrap_servers.rpartition(':')[2]):04X}"
    try:
        links = [str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()]
        table = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
    except OSError:
        return False
    rows = (line.split() for line in table)
    return any(row[2].endswith(port) and f"socket:[{row[9]}]" in links for row in rows)
