"""Fixtures of faults: a network that can be cut, three brokers of which one can be lost, a disk that can be full."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tidelog.testing.faults import FaultServers, FaultyNetwork
    from tidelog.testing.kafka_cluster import KafkaNodes
    from tidelog.testing.plugin import RedisServerFactory
    from tidelog.testing.small_disk import SmallDisk

SmallDiskFactory = Callable[[int], "SmallDisk"]


@pytest.fixture(scope="session")
def tidelog_fault_servers(
    request: pytest.FixtureRequest, tidelog_redis_server: RedisServerFactory
) -> Iterator[FaultServers]:
    """What `tidelog_network` stands on; for the whole session."""
    from tidelog.termination import interrupt_on_sigterm
    from tidelog.testing.faults import FaultServers
    from tidelog.testing.plugin import note_server
    from tidelog.testing.servers import ServerError

    with interrupt_on_sigterm():
        try:
            # An option has it made for this session: a server that others use is not to be killed.
            servers = FaultServers(
                lambda site: tidelog_redis_server(
                    f"faulty-{site}", appendonly="everysec", options={"maxmemory-policy": "noeviction"}
                )
            )
            servers.kafka.start()
            note_server(request.config, servers.kafka.description)
        except ServerError as error:
            raise pytest.fail.Exception(f"tidelog_network: {error}", pytrace=False) from None
        try:
            yield servers
        finally:
            servers.close()


@pytest.fixture
def tidelog_network(tidelog_fault_servers: FaultServers, tmp_path: Path) -> Iterator[FaultyNetwork]:
    """Sites and a Kafka that a test kills, freezes, cuts off, fills and sets the clock of; all healed after it."""
    from tidelog.testing.faults import FaultyNetwork

    folder = tmp_path / "tidelog-network"
    folder.mkdir()
    network = FaultyNetwork(tidelog_fault_servers, folder)
    try:
        yield network
    finally:
        network.close()


@pytest.fixture(scope="session")
def tidelog_kafka_nodes(request: pytest.FixtureRequest) -> Iterator[KafkaNodes]:
    """What `tidelog_kafka_cluster` stands on; for the whole session."""
    from tidelog.termination import interrupt_on_sigterm
    from tidelog.testing.kafka_cluster import KafkaNodes
    from tidelog.testing.plugin import note_server
    from tidelog.testing.servers import ServerError

    with interrupt_on_sigterm():
        nodes = KafkaNodes()
        try:
            nodes.start()
            for server in nodes.nodes.values():
                note_server(request.config, server.description)
        except ServerError as error:
            nodes.close()
            raise pytest.fail.Exception(f"tidelog_kafka_cluster: {error}", pytrace=False) from None
        try:
            yield nodes
        finally:
            nodes.close()


@pytest.fixture
def tidelog_kafka_cluster(tidelog_kafka_nodes: KafkaNodes) -> Iterator[KafkaNodes]:
    """Three brokers with three replicas of each topic, in local processes; all of them run before and after a test."""
    tidelog_kafka_nodes.heal()
    yield tidelog_kafka_nodes
    tidelog_kafka_nodes.heal()


@pytest.fixture
def tidelog_small_disk(tmp_path: Path) -> Iterator[SmallDiskFactory]:
    """``tidelog_small_disk(64 * 1024 * 1024)``: a file system of so many bytes. Skips where it cannot be mounted."""
    from tidelog.testing.servers import ServerError
    from tidelog.testing.small_disk import SmallDisk

    disks: list[SmallDisk] = []

    def make(size: int) -> SmallDisk:
        try:
            disk = SmallDisk(tmp_path / f"disk-{len(disks)}", size)
        except ServerError as error:
            pytest.skip(str(error))
        disks.append(disk)
        return disk

    yield make
    for disk in disks:
        disk.close()
