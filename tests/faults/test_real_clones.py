"""Clones and held copies on real Kafka and Redis: a worker applies and drops meanwhile, a holder is killed."""

import random
import signal
import subprocess
import sys
import textwrap
import threading
import uuid
from pathlib import Path

import pytest
import redis

from tests.faults.folded import all_equal
from tidelog.consumers.deployment import open_store
from tidelog.producers.group import Group
from tidelog.stores.image import Store
from tidelog.testing.readiness import wait_until
from tidelog.testing.running import RunningDeployment

pytestmark = [pytest.mark.servers, pytest.mark.timeout(180)]
SIZE = 256 * 1024 + 100
DEADLINE = 60.0


def prepared(running: RunningDeployment) -> tuple[Group, bytes, list[Store]]:
    """A group at tokyo and osaka, the content of its volume at copy ``base``, and both stores."""
    group = running.group(f"g-{uuid.uuid4().hex[:12]}")
    volume = group.create_volume("ledger", SIZE)
    content = random.Random(1).randbytes(200 * 1024)
    volume.write(10_000, content)
    for site in ("tokyo", "osaka"):
        running.wait_for_store(site, group.name)
    group.mark("base").wait(["tokyo", "osaka"], timeout=DEADLINE)
    stores = [open_store(running.deployment, site, group.name) for site in ("tokyo", "osaka")]
    return group, (bytes(10_000) + content).ljust(SIZE, b"\0"), stores


def names(store: Store) -> list[str]:
    return [copy.name for copy in store.copies(dropping=True)]


def go_on(group: Group, failures: list[BaseException]) -> None:
    """Writes and cuts, and drops most copies, ``base`` among them."""
    rnd, volume = random.Random(2), group.volume("ledger")
    try:
        for turn in range(40):
            for _ in range(20):
                volume.write(rnd.randrange(SIZE - 5000), rnd.randbytes(5000))
            group.mark(f"m{turn}")
            if turn == 3:
                group.drop_copy("base")
            if turn > 5:
                group.drop_copy(f"m{turn - 4}")
        group.flush()
    except BaseException as error:
        failures.append(error)


def test_a_clone_while_its_site_applies_and_drops(tidelog_deployment: RunningDeployment) -> None:
    """The base is dropped under it, more is written and cut: the clone is base and own writes, the copies of both sites
    are equal, and when it is dropped nothing of it is left."""
    running = tidelog_deployment
    group, model, (tokyo, osaka) = prepared(running)
    content, failures = bytearray(model), []
    site = running.site("osaka").group(group.name)
    clone = site.create_clone("base", "drill")
    volume, rnd = clone.volume("ledger"), random.Random(3)
    writer = threading.Thread(target=go_on, args=(group, failures))
    writer.start()
    turns = 0
    while writer.is_alive() or turns < 50:
        offset, length = rnd.randrange(SIZE), rnd.choice([1, 100, 4096, 9000])
        data = rnd.randbytes(min(length, SIZE - offset))
        volume.write(offset, data)
        content[offset : offset + len(data)] = data
        assert volume.read(0, SIZE) == content
        turns += 1
    writer.join()
    assert not failures
    for place in ("tokyo", "osaka"):
        assert running.site(place).group(group.name).wait_until(group.session.confirmed.sequence, DEADLINE)
    assert volume.read(0, SIZE) == content
    # Nobody holds it at tokyo; osaka keeps it, and shows it no more than tokyo does.
    assert wait_until(lambda: "base" not in names(tokyo), timeout_s=DEADLINE) and "base" in names(osaka)
    newest = [store.copies()[-1] for store in (tokyo, osaka)]
    assert [copy.name for copy in newest] == ["m39", "m39"]
    assert tokyo.verify(newest[0]) == osaka.verify(newest[1])
    assert [copy.name for copy in tokyo.copies()] == [copy.name for copy in osaka.copies()]
    site.drop_clone("drill")
    assert wait_until(lambda: "base" not in names(osaka), timeout_s=DEADLINE)
    client = redis.Redis.from_url(running.deployment.config.sites["osaka"].redis.url)
    prefix = f"tidelog:{{{group.name}}}:"
    left = {key.decode().removeprefix(prefix)[:2] for key in client.scan_iter(prefix + "*", count=1000)}
    assert not left & {"k:", "n:", "o:"} and not client.exists(prefix + "holds", prefix + "clones")
    all_equal(running.deployment, group.name, ("tokyo", "osaka"))


HOLDER = """
    import sys, time
    from tidelog import open_site
    from tidelog.stores import holds

    holds.LEASE_SECONDS, holds.RENEW_SECONDS = 3.0, 0.5
    with open_site("osaka", sys.argv[1]) as site:
        file = site.group(sys.argv[2]).copy("base").volume("ledger").open()
        first = file.read()
        print("open", flush=True)
        while True:
            file.seek(0)
            assert file.read() == first
            print("read", flush=True)
            time.sleep(0.1)
"""


def test_a_holder_that_is_killed_holds_no_longer_than_its_lease(
    tidelog_deployment: RunningDeployment, tmp_path: Path
) -> None:
    """While the process lives its open work volume keeps the copy, past the first lease's end; then it goes."""
    running = tidelog_deployment
    group, _, (_, osaka) = prepared(running)
    config = running.deployment.config
    path = tmp_path / "tidelog.toml"
    tables = "".join(f'[sites.{name}.redis]\nurl = "{site.redis.url}"\n' for name, site in config.sites.items())
    servers = ",".join(config.kafka.bootstrap_servers)
    path.write_text(f'prefix = "{config.prefix}"\n[kafka]\nbootstrap_servers = "{servers}"\n{tables}')
    command = [sys.executable, "-c", textwrap.dedent(HOLDER), str(path), group.name]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "open\n"
        (first,) = osaka.holds()
        group.drop_copy("base")
        group.mark("next").wait(["osaka"], timeout=DEADLINE)
        assert [copy.name for copy in osaka.copies()] == ["next"]
        while not any(hold.expires_us > first.expires_us + 4_000_000 for hold in osaka.holds()):
            assert holder.stdout.readline() == "read\n"
        assert names(osaka) == ["base", "next"]
        holder.send_signal(signal.SIGKILL)
        assert holder.wait(DEADLINE) == -signal.SIGKILL
    finally:
        holder.kill()
        holder.wait()
    assert wait_until(lambda: names(osaka) == ["next"], timeout_s=DEADLINE)
    assert osaka.holds() == []
    all_equal(running.deployment, group.name, ("tokyo", "osaka"))
