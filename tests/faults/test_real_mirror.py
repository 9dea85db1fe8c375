"""A Kafka in each region: two real brokers, Kafka's own MirrorMaker between them, killed while writers go on.

Every site, and every copy, is compared with a fold of the first region's log by the reference interpreter.
"""

import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from kafka import KafkaAdminClient

from tests.clean_stores import group_of_its_own
from tests.faults.folded import all_equal, compare, records_of
from tests.faults.regions import Load, Mirrored, Regions, await_that
from tests.reference import Reference
from tidelog.config import Config
from tidelog.consumers.access import open_group
from tidelog.consumers.deployment import RealDeployment, open_store
from tidelog.errors import UsageError
from tidelog.testing.running import RunningDeployment
from tidelog.testing.servers import RedisServing
from tidelog.testing.stack import stack_toml

RUNBOOK = Path(__file__).parents[2] / "docs" / "runbooks" / "regions.md"
OFFSETS = "mm2-offsets.a.internal"  # where MirrorMaker writes down how far it has come

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def regions(tidelog_site_redis: Callable[[str], RedisServing]) -> Iterator[Regions]:
    """Shared by this module."""
    there = Regions(tidelog_site_redis)
    try:
        there.start()
        yield there
    finally:
        there.close()


@pytest.fixture
def mirrored(regions: Regions) -> Iterator[Mirrored]:
    regions.begin()
    a = RunningDeployment(RealDeployment(regions.config("a", "tokyo", "london")))
    b = RunningDeployment(RealDeployment(regions.config("b", "osaka", "london")))
    with a, b:
        yield Mirrored(regions, a, b)


def test_killed_in_the_middle_it_sends_again_and_nothing_is_applied_twice(mirrored: Mirrored) -> None:
    """SIGKILL under load, and again. It did send records twice, or the test says nothing."""
    mirror = mirrored.regions.mirror
    assert mirror is not None
    with Load(mirrored.group):
        for _ in range(2):
            before = status.sequence if (status := mirrored.status(mirrored.b, "osaka")) else 0
            mirrored.await_status(mirrored.b, "osaka", lambda found, before=before: found.sequence > before + 100)
            mirror.kill()
            mirror.start()
    mirrored.group.close()
    mirrored.group = mirrored.a.group(mirrored.name)  # another epoch
    mirrored.end_equal({"tokyo": mirrored.a, "osaka": mirrored.b})
    mirrored.await_status(mirrored.b, "osaka", lambda found: found.redelivered + found.void > 0)


def test_with_its_offsets_lost_it_sends_everything_again(mirrored: Mirrored) -> None:
    """Its own topic is deleted: it begins at the log's beginning, while writers and the site go on."""
    mirror = mirrored.regions.mirror
    assert mirror is not None
    with Load(mirrored.group):
        mirrored.await_status(mirrored.b, "osaka", lambda found: found.sequence > 100)
        mirror.stop()
        admin = KafkaAdminClient(bootstrap_servers=mirrored.regions.kafka["b"].bootstrap_servers)
        try:
            admin.delete_topics([OFFSETS])
            await_that(lambda: OFFSETS not in admin.list_topics(), "the offsets are gone")
        finally:
            admin.close()
        mirror.start()
        mirrored.await_status(mirrored.b, "osaka", lambda found: found.redelivered > 100)
    mirrored.end_equal({"tokyo": mirrored.a, "osaka": mirrored.b})


def test_a_site_is_moved_from_one_region_to_the_other(mirrored: Mirrored) -> None:
    """It stood on a's log, and goes on with b's, at other offsets, applying nothing again."""
    a, b = mirrored.a, mirrored.b
    # One event: with what Connect's producer is given by default MirrorMaker would end at it.
    mirrored.group.create_volume("large", "1MiB").write(0, random.Random(1).randbytes(1 << 20))
    with Load(mirrored.group):
        a.wait_for_store("london", mirrored.name)
        mirrored.await_status(a, "london", lambda found: found.sequence > 50)
        a.stop_site("london")
        stood = mirrored.status(a, "london")
        assert stood is not None and stood.state == "STOPPED"
        mirrored.await_status(b, "osaka", lambda found: found.sequence > stood.sequence + 50)
        b.site("london")
        mirrored.await_status(b, "london", lambda found: found.sequence > stood.sequence)
    mirrored.end_equal({"tokyo": a, "osaka": b, "london": b})
    store = open_store(b.deployment, "london", mirrored.name)
    assert store.position().cluster_id == mirrored.log_id(b) != mirrored.log_id(a)
    store.close()
    rest = [event for event in mirrored.reference().counted if event.last > stood.sequence]
    mirrored.await_status(b, "london", lambda found: found.events_applied == sum(event.changes for event in rest))


def test_a_second_source_is_refused_or_halts(mirrored: Mirrored) -> None:
    """tidelog opens no session there; what gets in past it halts the site before anything is applied."""
    mirrored.group.mark("one")
    before = mirrored.await_status(mirrored.b, "osaka", lambda found: found.sequence >= 2)
    with pytest.raises(UsageError, match="is a mirror of"):
        open_group(mirrored.name, deployment=mirrored.b.deployment)
    log = mirrored.b.deployment.cluster.log(mirrored.record)
    first = log.record_at(0)
    assert first is not None
    forged = bytearray(first.value)
    forged[-17] ^= 1
    appender = log.appender()
    appender.send(bytes(forged), lambda *_: None)
    appender.close(30)
    log.close()
    halted = mirrored.await_status(mirrored.b, "osaka", lambda found: found.state == "HALTED")
    assert halted.reason.startswith("CorruptEvent") and halted.sequence >= before.sequence
    records = records_of(mirrored.a.deployment, mirrored.name)  # what it stands at is the source's
    with closing(open_store(mirrored.b.deployment, "osaka", mirrored.name)) as store:
        compare(store, Reference(mirrored.record.group_id).fold(records, halted.sequence), records)
    all_equal(mirrored.a.deployment, mirrored.name, ["tokyo"])


def test_the_commands_of_the_runbook(regions: Regions, tidelog_site_redis, tmp_path: Path) -> None:
    """docs/runbooks/regions.md, as it stands: each ends with 0. Workers run in this process, as MirrorMaker does."""
    regions.begin()
    urls = {site: tidelog_site_redis(site).url for site in ("tokyo", "osaka")}
    files = {"a.toml": ("a", "tokyo"), "b.toml": ("b", "osaka"), "mirror-maker.properties": None}
    for name, there in files.items():
        if there is not None:
            toml = stack_toml(regions.kafka[there[0]].bootstrap_servers, {there[1]: urls[there[1]]})
            (tmp_path / name).write_text(f'prefix = "{regions.prefix}"\n{toml}')
    assert regions.mirror is not None
    (tmp_path / "mirror-maker.properties").write_text(regions.mirror.properties)
    blocks = re.findall(r"```sh\n(.*?)```", RUNBOOK.read_text(), re.DOTALL)
    commands = [line.split() for block in blocks for line in block.splitlines()]
    with group_of_its_own(urls.values(), "bank"):
        a, b = (RunningDeployment(RealDeployment(Config.load(tmp_path / f"{name}.toml", {}))) for name in "ab")
        with a, b:
            a.group("bank").create_volume("ledger", "1MiB").write(0, b"something")
            a.wait_for_store("tokyo", "bank", 60)
            for command in commands:
                if "run" in command:
                    b.wait_for_store("osaka", "bank", 60)
                    assert b.site("osaka").group("bank").wait_until(2, 60)
                    continue
                done = subprocess.run(
                    [sys.executable, "-m", *command],
                    cwd=tmp_path,
                    capture_output=True,
                    text=True,
                    timeout=120,
                    check=False,
                )
                assert done.returncode == 0, (command, done.stdout, done.stderr)
                if "regions" in command:
                    assert "osaka" in done.stdout and "tokyo" in done.stdout
            all_equal(a.deployment, "bank", ["tokyo"])
            all_equal(b.deployment, "bank", ["osaka"])
