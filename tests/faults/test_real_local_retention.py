"""A site's own retention on real Kafka and Redis: its copies by time go there only, with their blocks."""

import uuid
from collections.abc import Callable, Iterator

import pytest
import redis

from tests.faults.folded import all_equal
from tidelog.clock import wall_us
from tidelog.config import Config
from tidelog.consumers.deployment import RealDeployment, open_store
from tidelog.producers.ordering import lead_seconds, order_copy
from tidelog.stores.store import Copy, CopyOrigin
from tidelog.testing.readiness import wait_until
from tidelog.testing.running import RunningDeployment
from tidelog.testing.servers import KafkaServing, RedisServing

pytestmark = [pytest.mark.servers, pytest.mark.timeout(180)]
SITES = ("tokyo", "osaka")
BLOCK = 4096


@pytest.fixture
def running(
    tidelog_kafka: KafkaServing, tidelog_site_redis: Callable[[str], RedisServing]
) -> Iterator[RunningDeployment]:
    """Two sites; osaka keeps only its newest copy by time."""
    tables = {site: {"redis": {"url": tidelog_site_redis(site).url}} for site in SITES}
    config = Config(
        prefix=f"test-{uuid.uuid4().hex[:12]}",
        kafka={"bootstrap_servers": tidelog_kafka.bootstrap_servers},
        sites=tables | {"osaka": tables["osaka"] | {"keep": {"last": 1}}},
        writer={"heartbeat": 0.2},
        worker={"status_interval": 0.2},
    )
    with RunningDeployment(RealDeployment(config)) as running:
        yield running


def test_copies_by_time_go_at_that_site_only(running: RunningDeployment) -> None:
    """Three copies, with writes between them and a marker's copy; a restart of the worker changes nothing."""
    name = f"g-{uuid.uuid4().hex[:12]}"
    group = running.group(name)
    for site in SITES:
        running.wait_for_store(site, name)
    stores = {site: open_store(running.deployment, site, name) for site in SITES}
    volume = group.create_volume("v", "1MiB")
    volume.write(0, b"first" * BLOCK)
    group.mark("marked").wait(["osaka", "tokyo"], timeout=60)

    def timed(site: str) -> list[str]:
        return [copy.name for copy in stores[site].copies() if copy.origin is CopyOrigin.TIME]

    cluster = running.deployment.cluster
    for index in range(3):
        volume.write(index * BLOCK, bytes([index + 1]) * 10 * BLOCK)
        group.flush()
        copy = f"c{index}"
        order_copy(cluster, copy, [name], wall_us() + round((lead_seconds(cluster) + 0.3) * 1e6))
        assert wait_until(lambda: copy in timed("tokyo") and copy in timed("osaka"), timeout_s=60)  # noqa: B023
    assert wait_until(lambda: timed("osaka") == ["c2"], timeout_s=60)
    assert timed("tokyo") == ["c0", "c1", "c2"]
    assert {order.name for order in stores["osaka"].forgotten_orders()} == {"c0", "c1"}
    running.stop_site("osaka")
    running.site("osaka")
    volume.write(0, b"on and on" * BLOCK)
    group.flush()
    head = group.session.confirmed.sequence
    assert wait_until(lambda: stores["osaka"].position().head.sequence >= head, timeout_s=60)

    def held() -> list[Copy]:
        """All but a split, which a copy that came late leaves as the newest generation until the next cut."""
        return [copy for copy in stores["osaka"].copies(dropping=True) if copy.origin is not CopyOrigin.SPLIT]

    assert wait_until(lambda: [copy.name for copy in held()] == ["marked", "c2"], timeout_s=60)  # taken away to the end
    for copy in ("marked", "c2"):
        assert len({store.verify(store.copy(copy)) for store in stores.values()}) == 1
    generations = {copy.generation for copy in stores["osaka"].copies(dropping=True)}
    with redis.Redis.from_url(running.deployment.config.sites["osaka"].redis.url) as server:
        before = {key.split(b":")[3] for key in server.scan_iter(f"tidelog:{{{name}}}:g:*", count=10_000)}
    assert {int(generation) for generation in before} <= generations
    all_equal(running.deployment, name, SITES)
    for store in stores.values():
        store.close()
