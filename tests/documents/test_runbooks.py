"""The commands of the runbooks, as they stand, on real servers, in the situation that each page is for."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.documents.pages import SITES, commands, tidelog
from tidelog.consumers.access import open_group
from tidelog.schemas.control import CopyFormed
from tidelog.testing.readiness import wait_until
from tidelog.testing.running import RunningDeployment

WRITER = """
import sys, time, tidelog
group = tidelog.open_group("bank", config=sys.argv[1])
group.create_volume("ledger", "1MiB").write(0, b"x" * 5000)
group.flush()
print("ready", flush=True)
time.sleep(600)
"""

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]


@pytest.fixture
def config_file(config_file: Path) -> Path:
    """With an objective."""
    with config_file.open("a") as file:
        file.write('\n[groups.bank]\nrpo = "5s"\ncopy_rpo = "1h"\n')
    return config_file


@pytest.mark.usefixtures("running")
def test_rpo_alarm(config_file: Path) -> None:
    """After a SIGKILL of the writer: looking says 5, and the page's way out ends with 0."""
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(config_file)], stdout=subprocess.PIPE, text=True)
    try:
        assert writer.stdout is not None and writer.stdout.readline() == "ready\n"
    finally:
        writer.kill()
        writer.wait(30)
    time.sleep(5)  # its objective: by the time the first command has begun it is missed
    *looking, alarm, by_hand, listing, last = commands("rpo-alarm.md")
    for arguments in looking:
        done = tidelog(config_file, *arguments)
        assert done.returncode == 5, (arguments, done.stdout, done.stderr)
        assert "--json" in arguments or "without a word from the writer" in done.stdout
    for arguments in (alarm, by_hand, listing):
        done = tidelog(config_file, *arguments)
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)
    assert wait_until(lambda: tidelog(config_file, *last).returncode == 0, timeout_s=60)


def test_trim(config_file: Path, running: RunningDeployment, tmp_path: Path) -> None:
    """With a copy that is old enough: all of the page, and Kafka has deleted what the plan said."""
    with open_group("bank", deployment=running.deployment) as group:
        group.create_volume("ledger", "1MiB").write(0, b"x" * 5000)
        group.mark("end-of-day").wait(SITES, timeout=60)
    with open_group("bank", deployment=running.deployment) as group:
        group.volume("ledger").write(0, b"behind")
        group.flush(applied_at=2, timeout=60)
    control = running.deployment.cluster.control
    for record in control.snapshot().values():
        if isinstance(record, CopyFormed):  # as if a margin had passed
            control.publish(record.model_copy(update={"formed_us": record.formed_us - 61_000_000}))
    log = running.deployment.cluster.log(running.deployment.cluster.find_group("bank"))
    assert log.bounds().start == 0
    for arguments in commands("trim.md"):
        here = [word.replace("/tmp/", f"{tmp_path}/") for word in arguments]
        done = tidelog(config_file, *here)
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)
        if "--dry-run" in arguments:
            assert "up to copy end-of-day" in done.stdout and log.bounds().start == 0
    copy = group.session.state.copy("end-of-day")
    record = log.record_at(log.bounds().start)
    assert copy is not None and record is not None and record.value[-16:] == copy.seal
    log.close()
    goes_on_after_a_trim(running)


def goes_on_after_a_trim(running: RunningDeployment) -> None:
    """Workers begin anew, a new session writes, and both sites hold the same."""
    for site in SITES:
        running.stop_site(site)
        running.site(site)
    with open_group("bank", deployment=running.deployment) as group:
        group.volume("ledger").write(0, b"after the trim")
        group.flush(applied_at=2, timeout=60)
        receipts = group.mark("afterwards").wait(SITES, timeout=60)
    assert len({receipt.digest for receipt in receipts.values()}) == 1
