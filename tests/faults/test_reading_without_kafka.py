"""Kafka is down: what a site holds can be read all the same, in programs and by commands, and it is said what is not
known."""

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

import tidelog
from tidelog.config import Config
from tidelog.consumers.deployment import RealDeployment
from tidelog.errors import LogUnavailable, NotFound
from tidelog.testing.processes import KafkaServer, RedisServer
from tidelog.testing.running import RunningDeployment

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]
SITES = ("tokyo", "london")
BLOCK = 4096


@pytest.fixture(scope="module")
def config_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Group ``bank`` with copy ``noon`` at two sites, whose Kafka has been stopped since."""
    path = tmp_path_factory.mktemp("down") / "tidelog.toml"
    with KafkaServer() as kafka, RedisServer(name="tokyo") as tokyo, RedisServer(name="london") as london:
        tables = (
            f'[sites.{site}.redis]\nurl = "{server.url}"\n' for site, server in zip(SITES, (tokyo, london), strict=True)
        )
        path.write_text(
            f'[kafka]\nbootstrap_servers = "{kafka.bootstrap_servers}"\nconnect_timeout = "2s"\n'
            f'request_timeout = "3s"\n[worker]\nstatus_interval = "200ms"\n{"".join(tables)}'
        )
        with RunningDeployment(RealDeployment(Config.load(path, {}))) as running:
            for site in SITES:
                running.site(site)
            group = running.group("bank")
            ledger = group.create_volume("ledger", 4 * BLOCK)
            ledger.write(BLOCK, b"noon" * 1024)
            group.mark("noon").wait(sites=SITES, timeout=60)
            group.lock_copy("noon", timedelta(days=1))
            ledger.write(BLOCK, b"late" * 1024)
            group.flush()
            for site in SITES:
                assert running.site(site).group("bank").wait_until(group.session.confirmed.sequence)
        kafka.stop()
        yield path


def run(config_file: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "tidelog", "-c", str(config_file), *arguments]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    return done


def test_a_program_reads(config_file: Path) -> None:
    """Copies and live volumes; a group that the site does not hold is still none."""
    with tidelog.open_site("london", config=config_file) as london:
        group = london.group("bank")
        copy = group.copy("noon")
        assert copy.volume("ledger").read(0, 4 * BLOCK) == bytes(BLOCK) + b"noon" * 1024 + bytes(2 * BLOCK)
        assert group.volume("ledger").read(BLOCK, 4) == b"late"
        assert len(copy.digest()) == 16 and group.position.head.sequence > copy.sequence
        with pytest.raises(NotFound):
            london.group("orders")
    with pytest.raises(LogUnavailable):
        tidelog.open_group("bank", config=config_file)


def test_commands_read(config_file: Path) -> None:
    """The bytes on stdout, and on stderr whose word it is."""
    for arguments, expected in (
        (("pitc", "read", "noon", "ledger", "-g", "bank", "--offset", "4096", "--length", "4"), b"noon"),
        (("volume", "read", "ledger", "-g", "bank", "--offset", "4096", "--length", "4"), b"late"),
    ):
        done = run(config_file, *arguments, "--site", "london")
        assert (done.returncode, done.stdout) == (0, expected), done.stderr
        assert b"does not answer" in done.stderr and b"this is what site london holds" in done.stderr


def test_lists_say_what_is_unknown(config_file: Path) -> None:
    """The copies of one site with its digests; the others' receipts are unknown, and the exit code says partial."""
    listed = run(config_file, "pitc", "list", "-g", "bank", "--site", "london", "--json")
    assert listed.returncode == 3, listed.stderr
    (copy,) = json.loads(listed.stdout)["copies"]
    assert (copy["name"], copy["equal"]) == ("noon", None) and copy["locked_until"] is not None
    assert {site: row["answer"] for site, row in copy["sites"].items()} == {"tokyo": "unknown", "london": "formed"}
    with tidelog.open_site("london", config=config_file) as london:
        assert copy["sites"]["london"]["digest"] == london.group("bank").copy("noon").digest().hex()
    assert copy["sites"]["tokyo"]["digest"] is None
    text = run(config_file, "pitc", "list", "-g", "bank", "--site", "london").stdout.decode()
    assert "unknown" in text and "waiting" not in text and "locked until" in text

    shown = run(config_file, "pitc", "show", "noon", "-g", "bank", "--site", "london", "--json")
    document = json.loads(shown.stdout)
    assert shown.returncode == 3 and document["volumes"][0]["name"] == "ledger"
    assert document["sites"]["tokyo"]["answer"] == "unknown"
    of_primary = run(config_file, "pitc", "show", "noon", "-g", "bank")
    text = of_primary.stdout.decode()
    assert "unknown" in text and "1970" not in text
    listed = run(config_file, "pitc", "list", "-g", "bank")
    for done in (of_primary, listed):  # who holds copies is asked of every site, and is not all that it holds
        assert b"this is what site tokyo holds" in done.stderr and b"site london" not in done.stderr


def test_what_needs_kafka_says_so(config_file: Path) -> None:
    """Also where the site's store cannot help."""
    for arguments in (
        ("pitc", "list", "-g", "orders"),
        ("pitc", "create", "x", "-g", "bank"),
        ("status",),
    ):
        refused = run(config_file, *arguments)
        assert refused.returncode == 11 and refused.stderr.startswith(b"error: Kafka"), refused.stderr
    absent = run(config_file, "pitc", "read", "never", "ledger", "-g", "bank", "--site", "london")
    assert absent.returncode == 11  # it may be in an archive, which the control topic would tell
