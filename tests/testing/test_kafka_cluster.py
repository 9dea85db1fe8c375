"""`tidelog_kafka_cluster`: a broker is killed, another leads, nothing is lost; and a disk that is full."""

import uuid
from collections.abc import Callable, Iterator

import pytest

from tidelog.config import Config
from tidelog.consumers.deployment import RealDeployment
from tidelog.errors import TidelogError, Unavailable
from tidelog.producers.group import Group
from tidelog.testing.fault_fixtures import SmallDiskFactory
from tidelog.testing.kafka_cluster import KafkaNodes
from tidelog.testing.processes import KafkaServer
from tidelog.testing.readiness import wait_until
from tidelog.testing.running import RunningDeployment
from tidelog.testing.servers import RedisServing

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]
WAIT_S = 120
MIB = 1024 * 1024


def running(bootstrap_servers: str, redis_url: str) -> RunningDeployment:
    config = Config(
        prefix=f"test-{uuid.uuid4().hex[:12]}",
        kafka={"bootstrap_servers": bootstrap_servers, "request_timeout": 5.0, "connect_timeout": 5.0},
        sites={"tokyo": {"redis": {"url": redis_url}}},
        primary="tokyo",
        writer={"write_timeout": 10.0},
        worker={"status_interval": 0.2},
    )
    return RunningDeployment(RealDeployment(config))


@pytest.fixture
def name() -> str:
    return f"g-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def on_the_cluster(
    tidelog_kafka_cluster: KafkaNodes, tidelog_site_redis: Callable[[str], RedisServing]
) -> Iterator[RunningDeployment]:
    with running(tidelog_kafka_cluster.bootstrap_servers, tidelog_site_redis("tokyo").url) as deployment:
        deployment.site("tokyo")
        yield deployment


def goes_on(deployment: RunningDeployment, name: str, data: bytes) -> Group:
    """The group, open and written to, however often that takes: who leads is elected within seconds."""
    opened: list[Group] = []

    def written() -> bool:
        try:
            group = deployment.group(name)
            group.create_volume("ledger", "1MiB").write(0, data)
            group.flush()
        except Unavailable:
            return False
        opened.append(group)
        return True

    assert wait_until(written, WAIT_S)
    return opened[0]


def test_the_leader_is_killed(tidelog_kafka_cluster: KafkaNodes, on_the_cluster: RunningDeployment, name: str) -> None:
    """Another one leads, and what was flushed is there; when it is back, three are in sync."""
    cluster = tidelog_kafka_cluster
    goes_on(on_the_cluster, name, b"before")
    topic = on_the_cluster.deployment.cluster.find_group(name).topic
    assert wait_until(lambda: cluster.in_sync(topic) == 3, WAIT_S)
    dead = cluster.leader(topic)
    cluster.nodes[dead].kill()
    assert wait_until(lambda: cluster.leader(topic) not in (0, dead), WAIT_S) and cluster.in_sync(topic) == 2
    volume = goes_on(on_the_cluster, name, b"after!").volume("ledger")
    assert volume.read(0, 6) == b"after!"
    cluster.heal()
    assert wait_until(lambda: cluster.in_sync(topic) == 3, WAIT_S)


def test_a_full_disk_under_kafka(
    tidelog_small_disk: SmallDiskFactory, tidelog_site_redis: Callable[[str], RedisServing], name: str
) -> None:
    """The writer hears of it; with room, and the broker started again, everything that was flushed is there."""
    disk = tidelog_small_disk(128 * MIB)
    with (
        KafkaServer(data_dir=disk.path / "kafka", options={"log.segment.bytes": str(MIB)}) as kafka,
        running(kafka.bootstrap_servers, tidelog_site_redis("tokyo").url) as deployment,
    ):
        deployment.site("tokyo")
        group = goes_on(deployment, name, b"before")
        disk.fill()
        with pytest.raises(TidelogError):
            fill_the_log(group)
        disk.make_room()
        kafka.restart()
        again = goes_on(deployment, name, b"after!")
        assert again.volume("ledger").read(0, 6) == b"after!"
        again.mark("after").wait(["tokyo"], timeout=WAIT_S)


def fill_the_log(group: Group) -> None:
    """Until a flush fails; what a broker has open takes a segment more."""
    volume = group.volume("ledger")
    for _ in range(64):
        volume.write(0, uuid.uuid4().bytes * (MIB // 16))
        group.flush()
