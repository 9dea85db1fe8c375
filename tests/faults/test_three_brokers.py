"""Three brokers, three replicas, two in sync: the leader dies again and again; then two of three are down."""

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from kafka import TopicPartition

from tests.crash.child import BLOCK, BLOCKS, content
from tests.faults.folded import all_equal, wait_until
from tidelog.config import Config
from tidelog.consumers.deployment import RealDeployment
from tidelog.errors import Fenced, TidelogError, Unavailable
from tidelog.producers.group import Group
from tidelog.producers.kafka_clients import open_admin
from tidelog.producers.kafka_consumer import PartitionConsumer
from tidelog.testing.kafka_cluster import KafkaNodes
from tidelog.testing.processes import RedisServer
from tidelog.testing.running import RunningDeployment

pytestmark = [pytest.mark.servers, pytest.mark.timeout(900)]
GROUP = "bank"
SITES = ("tokyo", "osaka")
KILLS = 3


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaNodes]:
    """Shared by this module."""
    with KafkaNodes(tmp_path_factory.mktemp("kafka")) as nodes:
        yield nodes


@pytest.fixture
def running(nodes: KafkaNodes, tmp_path: Path) -> Iterator[RunningDeployment]:
    """All brokers run, whatever a test that failed has left."""
    nodes.heal()
    servers = {site: RedisServer(name=site, data_dir=tmp_path / site) for site in SITES}
    try:
        for server in servers.values():
            server.start()
        config = Config(
            prefix=f"three-{uuid.uuid4().hex[:8]}",
            kafka={"bootstrap_servers": nodes.bootstrap_servers, "request_timeout": 5.0, "connect_timeout": 10.0},
            sites={site: {"redis": {"url": server.url}} for site, server in servers.items()},
            primary="tokyo",
            writer={"write_timeout": 20.0},
            worker={"status_interval": 0.2},
        )
        with RunningDeployment(RealDeployment(config)) as deployment:
            deployment.deployment.cluster.create_group(GROUP)
            for site in SITES:
                deployment.wait_for_store(site, GROUP, timeout=60)
            yield deployment
    finally:
        for server in servers.values():
            server.close()


class Load:
    """A writer that goes on whatever happens: it opens the group again when its session has ended. ``acknowledged`` is
    the last number whose flush returned."""

    def __init__(self, running: RunningDeployment) -> None:
        self._running, self._ended = running, threading.Event()
        self.acknowledged = self.ended_sessions = 0
        self.flushed: set[int] = set()
        self.last_error: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(90)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        number = 0
        group: Group | None = None
        while not self._ended.is_set():
            try:
                if group is None:
                    group = self._running.group(GROUP)
                    volume = group.create_volume("data", BLOCK * BLOCKS)
                for _ in range(5):
                    number += 1
                    volume.write(number % BLOCKS * BLOCK, content(number))
                if number % 100 == 0:
                    group.mark(f"copy-{number}")
                group.flush()
                self.acknowledged = number
                self.flushed.update(range(number - 4, number + 1))
            except Exception as error:
                self.last_error = error
                if not isinstance(error, Unavailable | Fenced):
                    return
                if group is not None:
                    group.abandon()
                group = None
                self.ended_sessions += 1
            time.sleep(0.01)
        if group is not None:
            group.close()

    def goes_on(self) -> None:
        """Waits for flushes that began after this call."""
        before = self.acknowledged
        try:
            wait_until(lambda: self.acknowledged >= before + 20, f"flushes after {before}", timeout=120)
        except AssertionError as error:
            told = f"{error}; at {self.acknowledged}, ended {self.ended_sessions} times"
            raise AssertionError(told) from self.last_error


def leader_and_in_sync(running: RunningDeployment) -> tuple[int, int]:
    """The leader of the group's log, and how many replicas are in sync; (0, 0) while nobody says."""
    topic = running.deployment.cluster.find_group(GROUP).topic
    try:
        with closing(open_admin(running.deployment.config)) as admin:
            (partition,) = admin.describe_topics([topic])[0]["partitions"]
    except Exception:
        return 0, 0
    return partition["leader_id"], len(partition["isr_nodes"])


def last_acknowledged_is_there(running: RunningDeployment, load: Load) -> None:
    """The writes of the last flushes that returned, or later ones over them, are at every site. Of those whose flush
    failed nobody has promised anything."""
    number = load.acknowledged
    for site in SITES:
        data = running.site(site).group(GROUP).volume("data").read(0, BLOCK * BLOCKS)
        for wanted in load.flushed.intersection(range(max(1, number - BLOCKS + 1), number + 1)):
            at = wanted % BLOCKS * BLOCK
            found = data[at : at + BLOCK]
            assert any(found == content(later) for later in range(wanted, number + 5 * BLOCKS, BLOCKS)), (site, wanted)


def test_the_leader_is_killed_again_and_again_under_load(nodes: KafkaNodes, running: RunningDeployment) -> None:
    """Each time another broker goes on; nothing that was acknowledged is lost, and the sites are equal."""
    with Load(running) as load:
        load.goes_on()
        for _ in range(KILLS):
            wait_until(lambda: leader_and_in_sync(running)[1] == 3, "three replicas in sync", timeout=120)
            leader, _count = leader_and_in_sync(running)
            nodes.nodes[leader].kill()
            load.goes_on()
            assert leader_and_in_sync(running)[0] != leader
            nodes.start()
    wait_until(lambda: leader_and_in_sync(running)[1] == 3, "three replicas in sync", timeout=120)
    all_equal(running.deployment, GROUP, SITES)
    last_acknowledged_is_there(running, load)


def test_two_of_three_down(nodes: KafkaNodes, running: RunningDeployment) -> None:
    """Nothing is acknowledged, and nothing said to be; when they are back all goes on by itself, the writer too."""
    with Load(running) as load:
        load.goes_on()
        wait_until(lambda: leader_and_in_sync(running)[1] == 3, "three replicas in sync", timeout=120)
        leader, _count = leader_and_in_sync(running)
        follower = next(node for node in nodes.nodes if node != leader)
        nodes.nodes[follower].kill()
        nodes.nodes[leader].kill()
        time.sleep(1)  # what was on its way has been answered
        before = load.acknowledged
        wait_until(lambda: load.ended_sessions > 0, "the flush fails", timeout=120)
        assert load.acknowledged == before, "acknowledged by one broker of three"
        nodes.start()
        load.goes_on()
    all_equal(running.deployment, GROUP, SITES)
    last_acknowledged_is_there(running, load)


def test_a_group_is_made_with_three_replicas(running: RunningDeployment) -> None:
    """RF 3 and two in sync, without being told."""
    topic = running.deployment.cluster.find_group(GROUP).topic
    with closing(open_admin(running.deployment.config)) as admin:
        (partition,) = admin.describe_topics([topic])[0]["partitions"]
    assert len(partition["replica_nodes"]) == 3
    with pytest.raises(TidelogError):
        running.deployment.cluster.create_group(GROUP)


def another_leads(running: RunningDeployment) -> None:
    """The leadership of the group's log moves, as a preferred election does it: nobody dies, no connection ends."""
    topic = running.deployment.cluster.find_group(GROUP).topic
    leader, _count = leader_and_in_sync(running)
    others = [node for node in (1, 2, 3) if node != leader]
    with closing(open_admin(running.deployment.config)) as admin:
        admin.alter_partition_reassignments({TopicPartition(topic, 0): [*others, leader]})
        wait_until(lambda: not admin.list_partition_reassignments(), "the order of replicas")
        admin.elect_leaders(0, {topic: [0]})  # the preferred one
    wait_until(lambda: leader_and_in_sync(running)[0] in others, "another leader")


def test_a_leader_that_has_moved_is_found(running: RunningDeployment) -> None:
    """The end of a log is asked of whoever leads it now, though nobody fetches: kafka-python itself goes on asking the
    former leader until it has looked at the cluster anew, within five minutes."""
    wait_until(lambda: leader_and_in_sync(running)[1] == 3, "three replicas in sync", timeout=120)
    topic = running.deployment.cluster.find_group(GROUP).topic
    with closing(PartitionConsumer(running.deployment.config, topic)) as consumer:
        before = consumer.bounds(10.0)
        another_leads(running)
        began = time.monotonic()
        assert consumer.bounds(10.0) == before and consumer.end(10.0) == before.end
        assert time.monotonic() - began < 5
