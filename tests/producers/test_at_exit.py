"""A program that just ends leaves its writes in the log and a report that says so."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest

from tests.documents.conftest import config_file, running  # noqa: F401 (fixtures)
from tidelog.errors import Fenced, LogUnavailable
from tidelog.producers import at_exit
from tidelog.schemas.reports import CLOSED, WriterStatus, writer_key
from tidelog.testing.running import RunningDeployment

IN_MEMORY = r"""
import os, sys, threading
from tidelog.consumers.access import open_group
from tidelog.consumers.deployment import MemoryDeployment

deployment = MemoryDeployment()
control, cluster = deployment.cluster.control, deployment.cluster
publish, first = control.publish, threading.Event()

def told(record, *rest):
    print(type(record).__name__, getattr(record, "state", ""), getattr(record, "unlogged_us", ""), flush=True)
    publish(record, *rest)
    first.set()

cluster.create_group("bank")
control.publish = told

def program():
    group = open_group("bank", deployment=deployment)
    group.create_volume("ledger", "1MiB").write(0, b"hello")
    assert first.wait(30)  # so that no thread prints as this forks
    if sys.argv[1] == "fork" and not (child := os.fork()):
        os.write(1, b"child\n")
        sys.exit()
    if sys.argv[1] == "fork":
        assert os.waitpid(child, 0)[1] == 0
    if sys.argv[1] == "close":
        group.close()
    if sys.argv[1] == "fail":
        raise ValueError

program()
print("the end", flush=True)
"""
ON_SERVERS = """
import sys
import tidelog
group = tidelog.open_group("bank", config=sys.argv[1])
group.create_volume("ledger", "1MiB").write(0, b"hello")
"""


def said(how: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", IN_MEMORY, how], capture_output=True, text=True, timeout=60)
    assert done.returncode == (how == "fail") and done.stderr.count("Error") == (how == "fail"), done.stderr
    return done.stdout.splitlines()


def test_a_program_that_ends() -> None:
    """Also one that forgot its group, or ends by an exception."""
    assert said("end")[-2:] == ["the end", "WriterStatus CLOSED 0"]
    assert said("fail")[-1] == "WriterStatus CLOSED 0"


def test_one_that_has_closed() -> None:
    """Once is enough."""
    assert said("close")[-2:] == ["WriterStatus CLOSED 0", "the end"]


def test_a_child_does_not_close_its_parents_session() -> None:
    """It has none of its threads, and its locks may be taken."""
    lines = said("fork")
    assert lines[-3:] == ["child", "the end", "WriterStatus CLOSED 0"] and lines.count("WriterStatus CLOSED 0") == 1


def test_it_waits_for_the_log_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once it is away the others are left; a fenced one is in nobody's way; another process's is not touched."""
    calls: list[str] = []

    class Session:
        def __init__(self, name: str, error: Exception | None = None) -> None:
            self.name, self.error, self.ended = name, error, False

        @property
        def session(self) -> Any:
            return self

        def close(self) -> None:
            calls.append(self.name)
            if self.error is not None and calls.count(self.name) == 1:
                raise self.error

        def abandon(self) -> None:
            calls.append(f"{self.name} left")

    sessions = [Session("a", Fenced("")), Session("b"), Session("c", LogUnavailable("")), Session("d")]
    monkeypatch.setattr(at_exit, "_open", dict.fromkeys(cast(Any, sessions), os.getpid()) | {Session("e"): 0})
    at_exit._close_all()
    assert calls == ["a", "a", "b", "b", "c", "c", "d left", "d"]


@pytest.mark.servers
def test_with_kafka(running: RunningDeployment, config_file: Path) -> None:  # noqa: F811
    """Whose own producers are not closed before."""
    subprocess.run([sys.executable, "-c", ON_SERVERS, str(config_file)], check=True, timeout=120)
    control = running.deployment.cluster.control
    report = control.snapshot()[writer_key("bank")]
    assert isinstance(report, WriterStatus) and report.state == CLOSED and report.unlogged_us == 0
    with running.group("bank") as group:
        assert group.volume("ledger").read(0, 5) == b"hello"
