"""Over a real Kafka and real Redis: a site that begins from an export ends with the same bytes as the others."""

import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
import redis

from tests.exports.conftest import ignore
from tidelog.consumers.deployment import open_store
from tidelog.errors import NeedsRebuild
from tidelog.gateways.exports.checking import check_export
from tidelog.gateways.exports.loading import import_exports, open_exports
from tidelog.gateways.exports.manifest import read_manifest
from tidelog.gateways.exports.place import place_of
from tidelog.gateways.exports.writing import write_export
from tidelog.stores.erase import ERASING
from tidelog.testing.readiness import wait_until
from tidelog.testing.running import RunningDeployment

pytestmark = pytest.mark.servers
MIB = 1024 * 1024


def prepared(running: RunningDeployment, size: int):
    """A group with copies ``one`` and ``two``, whole at tokyo and osaka; london has no store of it."""
    name = f"group-{uuid.uuid4().hex[:12]}"
    group = running.group(name)
    ledger, journal = group.create_volume("ledger", 2 * size), group.create_volume("journal", MIB, block_size=512)
    ledger.write(0, os.urandom(size))
    journal.write(1000, b"one")
    group.mark("one")
    ledger.write(4096, os.urandom(100_000))
    ledger.discard(size // 2, 65536)
    journal.resize(MIB // 2)
    group.mark("two")
    group.flush()
    for site in ("tokyo", "osaka"):
        running.wait_for_store(site, name)
        assert running.site(site).group(name).wait_until(group.session.confirmed.sequence)
    return group, ledger


def exported(running: RunningDeployment, group: str, folder: Path) -> list[str]:
    """A whole export of ``one`` and what changed up to ``two``, both good."""
    store = open_store(running.deployment, "tokyo", group)
    one, two = store.copy("one"), store.copy("two")
    places = [str(folder / "one"), str(folder / "two")]
    write_export(store, one, places[0], None, ignore)
    write_export(store, two, places[1], one, ignore)
    for url in places:
        place = place_of(url)
        assert not check_export(place, read_manifest(place), ignore).problems
    store.close()
    return places


def equal_everywhere(running: RunningDeployment, group: str, names: tuple[str, ...]) -> None:
    held = [running.site(site).group(group) for site in ("tokyo", "osaka", "london")]
    for name in names:
        assert len({site.copy(name).digest() for site in held}) == 1
    stores = [open_store(running.deployment, site, group) for site in ("osaka", "london")]
    assert len({store.verify(store.copy(names[-1])) for store in stores}) == 1


def test_a_site_begins_from_an_export(tidelog_deployment: RunningDeployment, tmp_path: Path) -> None:
    running = tidelog_deployment
    group, ledger = prepared(running, 2 * MIB)
    places = exported(running, group.name, tmp_path)
    held = import_exports(running.deployment, "london", open_exports(places, group.name), ignore)
    assert held.name == "two"
    ledger.write(0, b"behind the export" * 1000)
    group.mark("three")
    group.flush()
    for site in ("tokyo", "osaka", "london"):
        assert running.site(site).group(group.name).wait_until(group.session.confirmed.sequence)
    assert [copy.name for copy in running.site("london").group(group.name).copies()] == ["two", "three"]
    equal_everywhere(running, group.name, ("two", "three"))


def test_an_import_that_is_killed_is_run_again(tidelog_deployment: RunningDeployment, tmp_path: Path) -> None:
    running = tidelog_deployment
    group, _ = prepared(running, 64 * MIB)
    places = exported(running, group.name, tmp_path)
    config = running.deployment.config
    path = tmp_path / "tidelog.toml"
    tables = "".join(f'[sites.{name}.redis]\nurl = "{site.redis.url}"\n' for name, site in config.sites.items())
    servers = ",".join(config.kafka.bootstrap_servers)
    path.write_text(f'prefix = "{config.prefix}"\n[kafka]\nbootstrap_servers = "{servers}"\n{tables}')
    command = [sys.executable, "-m", "tidelog", "-c", str(path), "pitc", "import", *places, "--site", "london"]
    client = redis.Redis.from_url(config.sites["london"].redis.url)
    key = f"tidelog:{{{group.name}}}:b:2:00000100"
    importing = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        assert wait_until(lambda: bool(client.exists(key)), timeout_s=60)
        importing.send_signal(signal.SIGKILL)
        assert importing.wait(30) == -signal.SIGKILL
    finally:
        importing.kill()
    london = open_store(running.deployment, "london", group.name)
    assert london.rebuilding() == ERASING
    with pytest.raises(NeedsRebuild, match="cut short"):
        london.copies()
    done = subprocess.run(command, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert running.site("london").group(group.name).wait_until(group.session.confirmed.sequence)
    equal_everywhere(running, group.name, ("two",))
