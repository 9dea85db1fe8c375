"""A lock outlives a store that is full: Redis at its maxmemory refuses what is written and evicts nothing (G14)."""

import random
from datetime import timedelta

import pytest
import redis

from tests.faults.folded import all_equal
from tidelog.consumers.deployment import open_store
from tidelog.errors import Locked
from tidelog.schemas.control import SiteStatus, status_key
from tidelog.schemas.events import CopyDropped
from tidelog.testing.readiness import wait_until
from tidelog.testing.running import RunningDeployment

pytestmark = [pytest.mark.servers, pytest.mark.timeout(180)]

MIB = 1 << 20


def test_a_locked_copy_at_a_full_store(tidelog_deployment: RunningDeployment) -> None:
    """While the site cannot apply, the locked copy is there and right; no call and no event drops it, then or once
    there is room again."""
    running, name = tidelog_deployment, "full"
    group = running.group(name)
    running.wait_for_store("osaka", name)
    volume = group.create_volume("v", 32 * MIB)
    content = random.Random(14).randbytes(MIB)
    volume.write(0, content)
    group.mark("locked").wait(["osaka"], timeout=60)
    group.lock_copy("locked", timedelta(days=30))
    volume.write(0, bytes(reversed(content)))
    group.mark("behind").wait(["osaka"], timeout=60)
    store, locked = open_store(running.deployment, "osaka", name), group.session.state.copy("locked")
    assert locked is not None

    def is_there() -> bool:
        copy = store.copy("locked")
        held = store.read(copy.volume("v"), 0, MIB, copy) == content and store.digest(copy) == store.verify(copy)
        return held and copy.locked_until_us > 0

    def said() -> str:
        status = running.deployment.cluster.control.snapshot().get(status_key(name, "osaka"))
        assert isinstance(status, SiteStatus)
        return status.reason

    url = running.deployment.config.sites["osaka"].redis.url
    with redis.Redis.from_url(str(url)) as server:
        evicted = server.info("stats")["evicted_keys"]
        try:
            server.config_set("maxmemory", server.info("memory")["used_memory"] + 3 * MIB)
            for number in range(2, 26):
                volume.write(number * MIB, random.Random(number).randbytes(MIB))
            group.flush()
            assert wait_until(lambda: "OOM" in said(), timeout_s=60), said()
            assert is_there()
            group.session.emit(CopyDropped, copy_sequence=locked.sequence, copy_seal=locked.seal)
            group.flush()
            for drop in (lambda: group.drop_copy("locked"), lambda: store.mark_dropping(store.copy("locked"))):
                with pytest.raises(Locked):
                    drop()
            assert "OOM" in said() and is_there()
        finally:
            server.config_set("maxmemory", 0)
        group.mark("after").wait(["osaka"], timeout=60)
        assert [copy.name for copy in store.copies()] == ["locked", "behind", "after"] and is_there()
        assert server.info("stats")["evicted_keys"] == evicted
    assert not said()
    all_equal(running.deployment, name, ["osaka"])
    store.close()
