"""Ctrl-C inside long work, on real servers: one line, exit code 130, nobody left behind, and what is promised holds.

Every test waits until the command is at work, and fails if the work has ended before the interrupt came.
"""

import json
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import redis

import tidelog
from tests.clean_stores import forget_group
from tests.cli.operating import Command, Operator, operating
from tests.names import fresh
from tidelog.config import Config
from tidelog.consumers.deployment import RealDeployment, open_store
from tidelog.errors import NeedsRebuild, NotFound
from tidelog.testing.readiness import wait_until

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]

MIB = 1024 * 1024
SIZE = 192 * MIB  # most of a second of the fastest of these commands
BLOCK = 4096
SITES = ("tokyo", "osaka", "london")


@pytest.fixture(scope="module")
def bank(tidelog_kafka, tidelog_site_redis, tmp_path_factory) -> Iterator[Operator]:
    """A group with `SIZE` of random bytes on volume ``disk`` and copy ``one``, at tokyo; no other site has run."""
    folder = tmp_path_factory.mktemp("bank")
    urls = {site: tidelog_site_redis(site).url for site in SITES}
    with operating(folder, tidelog_kafka.bootstrap_servers, urls) as operator:
        operator.ok("group", "create", "bank")
        operator.work("tokyo")
        (folder / "image").write_bytes(os.urandom(SIZE))
        operator.ok("volume", "import", str(folder / "image"), "disk", "-g", "bank", "--create")
        operator.ok("pitc", "create", "one", "-g", "bank", "--sites", "tokyo", "--timeout", "60s")
        yield operator


@pytest.fixture
def deployment(bank: Operator) -> Iterator[RealDeployment]:
    """For looking at stores from outside."""
    made = RealDeployment(Config.load(bank.config, {}))
    yield made
    made.close()


@pytest.fixture
def running() -> Iterator[list[Command]]:
    """Commands that a failed test leaves are ended."""
    started: list[Command] = []
    yield started
    for command in started:
        command.kill()


def empty(bank: Operator, site: str) -> None:
    """Takes the group out of a site's Redis, which no worker serves."""
    forget_group([bank.urls[site]], "bank")


def prefix_length(found: bytes, written: bytes) -> int:
    """How many bytes of ``written``, from its beginning, are in ``found``, with zeros behind; whole blocks."""
    at = 0
    while at < len(found) and found[at : at + BLOCK] == written[at : at + BLOCK]:
        at += BLOCK
    assert not any(found[at:]), "what is there is no prefix of what was to be written"
    return at


def test_volume_write(bank: Operator, running: list[Command]) -> None:
    """From a stream that has not ended: what is in the log is a prefix of it, and the next command writes."""
    data, stream, after = os.urandom(16 * MIB), fresh("stream"), fresh("after-stream")
    bank.ok("volume", "create", stream, "-g", "bank", "--size", "32MiB")
    command = Command(bank.line("volume", "write", stream, "-g", "bank"))
    running.append(command)
    assert command.popen.stdin is not None
    command.popen.stdin.write(data)  # returns when all of it but a pipe's buffer was taken
    command.popen.stdin.flush()
    command.reaches(lambda: True, "writing")
    assert command.interrupt() == "interrupted\n"
    bank.ok("volume", "write", stream, "-g", "bank", "--offset", "31MiB", stdin=b"next")
    bank.ok("pitc", "create", after, "-g", "bank", "--sites", "tokyo", "--timeout", "60s")
    found = bank.ok("pitc", "read", after, stream, "-g", "bank")
    assert found[31 * MIB :].rstrip(b"\0") == b"next"
    assert prefix_length(found[: 16 * MIB], data) <= 16 * MIB and not any(found[16 * MIB : 31 * MIB])


def test_volume_import(bank: Operator, running: list[Command]) -> None:
    """The volume holds a prefix of the file; the same command again brings all of it."""
    image, imported, half, whole = bank.folder / "image", fresh("imported"), fresh("half"), fresh("whole")
    arguments = ("volume", "import", str(image), imported, "-g", "bank", "--create")
    with tidelog.open_site("tokyo", config=bank.config) as site:
        tokyo = site.group("bank")
        command = Command(bank.line(*arguments))
        running.append(command)
        command.reaches(lambda: any(volume.name == imported for volume in tokyo.volumes()), "importing")
        assert command.interrupt() == "interrupted\n"
    bank.ok("pitc", "create", half, "-g", "bank", "--sites", "tokyo", "--timeout", "60s")
    found = bank.ok("pitc", "read", half, imported, "-g", "bank")
    assert prefix_length(found, image.read_bytes()) < SIZE, "the import was complete: the interrupt was not inside"
    bank.ok(*arguments)
    bank.ok("pitc", "create", whole, "-g", "bank", "--sites", "tokyo", "--timeout", "60s")
    assert bank.ok("pitc", "read", whole, imported, "-g", "bank") == image.read_bytes()


def test_pitc_create_while_it_waits(bank: Operator, running: list[Command]) -> None:
    """The marker stands in the log: the copy is made all the same."""
    waited = fresh("waited")
    with tidelog.open_site("tokyo", config=bank.config) as site:
        tokyo = site.group("bank")
        command = Command(bank.line("pitc", "create", waited, "-g", "bank", "--wait", "--timeout", "5m"))
        running.append(command)
        command.reaches(lambda: any(copy.name == waited for copy in tokyo.copies()), "waiting for the other sites")
        assert command.interrupt() == "interrupted\n"
    assert not command.out
    assert wait_until(lambda: waited.encode() in bank.ok("pitc", "list", "-g", "bank"), timeout_s=30)


def test_log_show_follow(bank: Operator, running: list[Command]) -> None:
    """Whole lines only, as far as they have come."""
    command = Command(bank.line("log", "show", "bank", "--follow", "--json"))
    running.append(command)
    end = json.loads(bank.ok("group", "show", "bank", "--json"))["log"]["end_offset"]
    command.reaches(lambda: command.out.count(b"\n") >= end, "the end of the log")
    assert command.interrupt() == "interrupted\n"
    assert all(json.loads(line)["version"] == 1 for line in command.out.splitlines())


def test_status_watch(bank: Operator, running: list[Command]) -> None:
    command = Command(bank.line("status", "--watch", "--interval", "100ms"))
    running.append(command)
    command.reaches(lambda: command.out.count(b"group bank") >= 3, "watching")
    assert command.interrupt() == "interrupted\n"


def test_pitc_export(bank: Operator, running: list[Command], tmp_path: Path) -> None:
    """Nothing under the name that it would have had, and nothing beside it."""
    command = Command(bank.line("pitc", "export", "one", "-g", "bank", "--to", str(tmp_path / "export")))
    running.append(command)
    written = lambda: sum(file.stat().st_size for file in tmp_path.rglob("*.avro"))  # noqa: E731
    command.reaches(lambda: written() > MIB, "writing files")
    assert command.interrupt() == "interrupted\n"
    assert list(tmp_path.iterdir()) == []


def test_pitc_import(bank: Operator, running: list[Command], tmp_path: Path) -> None:
    """The site is not served; the same command again brings the copy."""
    place = str(tmp_path / "export")
    bank.ok("pitc", "export", "one", "-g", "bank", "--to", place)
    empty(bank, "london")
    with redis.Redis.from_url(bank.urls["london"]) as server:
        before = server.dbsize()  # of other groups
        command = Command(bank.line("pitc", "import", place, "--site", "london"))
        running.append(command)
        command.reaches(lambda: server.dbsize() > before + 1000, "filling the store")
        assert command.interrupt() == "interrupted\n"
    refused = bank("pitc", "read", "one", "disk", "-g", "bank", "--site", "london")
    assert refused.returncode == 4 and b"error: " in refused.stderr and not refused.stdout
    bank.ok("pitc", "import", place, "--site", "london")
    bank.ok("pitc", "verify", "one", "-g", "bank", "--site", "tokyo", "--site", "london")
    empty(bank, "london")


def test_site_rebuild(bank: Operator, running: list[Command], deployment: RealDeployment) -> None:
    """Reads are refused until it is whole; run again, it goes on from where it was."""
    empty(bank, "osaka")

    def replayed() -> int:
        try:
            with closing(open_store(deployment, "osaka", "bank")) as store:
                return store.position().head.sequence if store.rebuilding() is not None else 0
        except (NotFound, NeedsRebuild):  # not there yet, or being erased
            return 0

    command = Command(bank.line("site", "rebuild", "osaka", "-g", "bank", "--yes"))
    running.append(command)
    command.reaches(lambda: replayed() > 100, "replaying")
    said = command.interrupt()
    assert said.endswith("interrupted\n") and said.count("interrupted") == 1
    assert replayed() > 100, "the rebuild was complete: the interrupt was not inside"
    refused = bank("volume", "read", "disk", "-g", "bank", "--site", "osaka", "--length", "4096")
    assert refused.returncode != 0 and b"rebuil" in refused.stderr
    again = json.loads(bank.ok("site", "rebuild", "osaka", "-g", "bank", "--yes", "--json"))
    assert again["plan"]["erase"] is False and again["plan"]["from_sequence"] > 100
    assert again["report"]["copies"] and all(copy["equal"] for copy in again["report"]["copies"])
    bank.ok("pitc", "verify", "one", "-g", "bank", "--site", "tokyo", "--site", "osaka")
    empty(bank, "osaka")
