"""SIGKILL of whoever materialises a moment, on a real Redis: it is never ready before it is whole, and goes on."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from tests.faults.folded import all_equal
from tests.reference import Reference
from tests.reference_image import Cut
from tidelog.testing.child import DIE_WITH_PARENT
from tidelog.testing.running import RunningDeployment

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]

# The first transaction makes the record, the second takes it; then come the blocks, a MiB at a time, and the end.
POINTS = [
    ("before-transaction", 1),
    ("after-settle", 1),
    ("after-transaction", 2),
    ("after-transaction", 3),
    ("before-settle", 5),
    ("before-transaction", 6),
    ("before-settle", 9),
]
BLOCK = 4096


def start(config_path: Path, group: str, point: str, nth: int, sequence: int) -> subprocess.Popen[bytes]:
    launcher = [sys.executable, "-I", "-S", str(DIE_WITH_PARENT), str(os.getpid())]
    script = [sys.executable, "-m", "tests.crash.materialise_child", str(config_path), group, point, str(nth)]
    return subprocess.Popen([*launcher, *script, str(sequence)], cwd=Path(__file__).parents[2])


def test_killed_at_every_kind_of_point(
    group_name: str, config_path: Path, tidelog_deployment: RunningDeployment
) -> None:
    """While the site goes on applying; afterwards nothing of it is left."""
    running, chance = tidelog_deployment, random.Random(5)
    group = running.group(group_name)
    site = running.site("osaka")
    running.wait_for_store("osaka", group_name)
    opened = site.group(group_name)
    volume = group.create_volume("data", BLOCK * 1600)
    group.mark("before").wait(["osaka"], timeout=60)
    for number in range(1500):
        volume.write(number * 7 % 1600 * BLOCK, chance.randbytes(BLOCK))
        if number % 50 == 0:
            volume.write(chance.randrange(1500 * BLOCK), chance.randbytes(700))
    volume.discard(BLOCK * 3 + 5, BLOCK * 40)
    group.flush()
    sequence = group.session.confirmed.sequence
    for number in range(100):
        volume.write(number * 13 * BLOCK, chance.randbytes(BLOCK))
    group.flush()
    log = running.deployment.cluster.log(running.deployment.cluster.find_group(group_name))
    record = running.deployment.cluster.find_group(group_name)
    reader = log.reader(0)
    values = [(found.offset, found.value) for found in reader.records(log.bounds().end, 30)]
    reader.close()
    log.close()
    reference = Reference(record.group_id).fold(values, sequence)
    assert reference.sequence == sequence
    digest = Cut(sequence, b"", "", 0, reference.image(), 0).digest
    client = redis.Redis.from_url(running.deployment.config.sites["osaka"].redis.url)
    prefix = f"tidelog:{{{group_name}}}:"
    for point, nth in POINTS:
        child = start(config_path, group_name, point, nth, sequence)
        assert child.wait(timeout=60) == -signal.SIGKILL, f"{point} {nth} was not reached"
        ready = (point, nth) == ("before-settle", 9)  # the last transaction was sent
        if not ready or not opened.clones():
            assert opened.clones() == []
            volume.write(0, chance.randbytes(BLOCK))
            assert opened.materialise("was", sequence=sequence).digest() == digest
        assert opened.clone("was").digest() == digest and opened.clone("was").untouched
        opened.drop_clone("was")
        left = {key.decode().removeprefix(prefix)[:2] for key in client.scan_iter(prefix + "*", count=1000)}
        assert not left & {"k:", "n:", "o:"} and not client.exists(prefix + "clones")
    group.mark("after").wait(["osaka"], timeout=60)
    all_equal(running.deployment, group_name, ["osaka"])
