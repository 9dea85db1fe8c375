"""Ctrl-C inside work on copies, clones and images, on real servers: one line, exit code 130, nobody and nothing left.

Every test waits until the command is at work, and fails if the work has ended before the interrupt came.
"""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from tests.cli.operating import Command, Operator, operating
from tests.names import fresh
from tidelog.testing.readiness import wait_until

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]

MIB = 1024 * 1024
SIZE = 160 * MIB  # most of a second of the fastest of these commands
SITES = ("tokyo", "osaka")
AT = ("-g", "bank", "--site", "tokyo")


@pytest.fixture(scope="module")
def bank(tidelog_kafka, tidelog_site_redis, tmp_path_factory) -> Iterator[Operator]:
    """A group with `SIZE` of random bytes on volume ``disk``, copy ``one`` at both sites, and its clone ``drill``."""
    folder = tmp_path_factory.mktemp("bank")
    urls = {site: tidelog_site_redis(site).url for site in SITES}
    with operating(folder, tidelog_kafka.bootstrap_servers, urls) as operator:
        operator.ok("group", "create", "bank")
        for site in SITES:
            operator.work(site)
        (folder / "image").write_bytes(os.urandom(SIZE))
        operator.ok("volume", "import", str(folder / "image"), "disk", "-g", "bank", "--create")
        operator.ok("pitc", "create", "one", "-g", "bank", "--wait", "--timeout", "80s")
        operator.ok("pitc", "clone", "one", "drill", *AT)
        yield operator


@pytest.fixture
def running() -> Iterator[list[Command]]:
    """Commands that a failed test leaves are ended."""
    started: list[Command] = []
    yield started
    for command in started:
        command.kill()


@contextmanager
def reading(bank: Operator, site: str, command: Command) -> Iterator[None]:
    """Waits until the command has got some MiB of a site's Redis."""
    with redis.Redis.from_url(bank.urls[site]) as server:
        sent = lambda: server.info("stats")["total_net_output_bytes"]  # noqa: E731
        before = sent()
        yield
        command.reaches(lambda: sent() - before > 8 * MIB, "reading blocks")


def filled(folder: Path) -> int:
    """Bytes that stand on disk in files of a folder, whatever their names."""
    return sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file())


@pytest.mark.parametrize("arguments", [("--full",), ("--against", "osaka", "--full")], ids=" ".join)
def test_pitc_verify(bank: Operator, running: list[Command], arguments: tuple[str, ...]) -> None:
    """It only reads: the next one says that all is well."""
    command = Command(bank.line("pitc", "verify", "one", *AT, *arguments))
    running.append(command)
    with reading(bank, "tokyo", command):
        pass
    assert command.interrupt() == "interrupted\n"
    assert not command.out
    bank.ok("pitc", "verify", "one", "-g", "bank")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
@pytest.mark.parametrize("pitc", [(), ("--pitc", "one")], ids=["live", "of-a-copy"])
def test_volume_export(
    bank: Operator, running: list[Command], tmp_path: Path, pitc: tuple[str, ...], number: signal.Signals
) -> None:
    """Nothing under the name that it would have had, and nothing beside it; nor is the copy held any more."""
    command = Command(bank.line("volume", "export", "disk", str(tmp_path / "image"), *AT, *pitc))
    running.append(command)
    command.reaches(lambda: filled(tmp_path) > MIB, "writing the file")
    assert command.interrupt(number) == "interrupted\n"
    assert list(tmp_path.iterdir()) == []
    listed = json.loads(bank.ok("pitc", "list", "-g", "bank", "--json"))["copies"]
    assert {holder["kind"] for copy in listed for holder in copy["held_by"]} == {"clone"}


def test_clone_export(bank: Operator, running: list[Command], tmp_path: Path) -> None:
    command = Command(bank.line("clone", "export", "drill", "disk", str(tmp_path / "image"), *AT))
    running.append(command)
    command.reaches(lambda: filled(tmp_path) > MIB, "writing the file")
    assert command.interrupt() == "interrupted\n"
    assert list(tmp_path.iterdir()) == []


def test_clone_write(bank: Operator, running: list[Command]) -> None:
    """From a stream that has not ended: a prefix of it is in the clone, and none of it in the copy."""
    data, clone = os.urandom(16 * MIB), fresh("written")
    bank.ok("pitc", "clone", "one", clone, *AT)
    command = Command(bank.line("clone", "write", clone, "disk", *AT))
    running.append(command)
    assert command.popen.stdin is not None
    command.popen.stdin.write(data)  # returns when all of it but a pipe's buffer was taken
    command.popen.stdin.flush()
    command.reaches(lambda: True, "writing")
    assert command.interrupt() == "interrupted\n"
    found = bank.ok("clone", "read", clone, "disk", *AT, "--length", "16MiB")
    image = (bank.folder / "image").read_bytes()[: 16 * MIB]
    written = next((at for at in range(0, 16 * MIB, 4096) if found[at : at + 4096] != data[at : at + 4096]), 16 * MIB)
    assert written >= 14 * MIB and found == data[:written] + image[written:]
    assert bank.ok("pitc", "read", "one", "disk", *AT, "--length", "16MiB") == image


def test_pitc_archive(bank: Operator, running: list[Command], tmp_path: Path) -> None:
    """Nothing was told and nothing dropped; the same command again archives it."""
    name = fresh("old")
    bank.ok("pitc", "create", name, "-g", "bank", "--wait", "--timeout", "80s")
    archive = ("pitc", "archive", name, *AT, "--to", str(tmp_path))
    command = Command(bank.line(*archive))
    running.append(command)
    command.reaches(lambda: filled(tmp_path) > MIB, "writing the export")
    assert command.interrupt() == "interrupted\n"
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == []
    listed = json.loads(bank.ok("pitc", "list", "-g", "bank", "--json"))["copies"]
    (old,) = [copy for copy in listed if copy["name"] == name]
    assert {site: said["answer"] for site, said in old["sites"].items()} == dict.fromkeys(SITES, "formed")
    bank.ok("pitc", "verify", name, "-g", "bank")
    bank.ok(*archive)
    assert len(list(tmp_path.rglob("manifest.json"))) == 1


def test_pitc_create_by_time_while_it_waits(bank: Operator, running: list[Command]) -> None:
    """The command stands: the sites cut it when their time comes to it, which nobody's writes let pass before."""
    noon = fresh("noon")
    command = Command(bank.line("pitc", "create", noon, "-g", "bank", "--in", "1s", "--wait", "--timeout", "5m"))
    running.append(command)
    command.reaches(lambda: b"waiting for tokyo, osaka" in command.err, "waiting for the sites")
    ordered, *_, last = command.interrupt().splitlines()
    assert ordered.startswith(f"ordered copy {noon} of bank at ") and last == "interrupted"
    assert not command.out

    def formed() -> bool:
        bank.ok("volume", "write", "disk", "-g", "bank", stdin=b"time goes on")
        orders = json.loads(bank.ok("pitc", "orders", "--json"))["orders"]
        (order,) = [order for order in orders if order["name"] == noon]
        return bool(order["complete"])

    assert wait_until(formed, timeout_s=60)


def test_volume_copy_while_it_waits_for_the_site(bank: Operator, running: list[Command]) -> None:
    """The command is not in the log: it could not be known yet what it must name. Run again, it is."""
    target = fresh("test")
    bank.ok("volume", "create", target, "-g", "bank", "--size", "160MiB")
    bank.workers["tokyo"].pause()
    try:
        bank.ok("volume", "write", "disk", "-g", "bank", stdin=b"the site is behind")
        end = json.loads(bank.ok("group", "show", "bank", "--json"))["log"]["end_offset"]
        command = Command(bank.line("volume", "copy", "disk", target, "-g", "bank"))
        running.append(command)
        opened = lambda: json.loads(bank.ok("group", "show", "bank", "--json"))["log"]["end_offset"] > end  # noqa: E731
        command.reaches(opened, "waiting for the site")
        assert command.interrupt() == "interrupted\n"
        assert b"VolumeCopied" not in bank.ok("log", "show", "bank", "--json", "--offset", str(end))
    finally:
        bank.workers["tokyo"].resume()
    bank.ok("volume", "copy", "disk", target, "-g", "bank")
