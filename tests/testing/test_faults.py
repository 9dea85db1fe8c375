"""Each fault of `tidelog_network` bites, at the site that it was made for and nowhere else, and heals."""

import time
from collections.abc import Iterator
from datetime import timedelta

import pytest

from tests.names import fresh
from tidelog.clock import wall_us
from tidelog.errors import LogUnavailable, StoreUnavailable
from tidelog.producers.group import Group
from tidelog.testing.faults import FaultServers, FaultyNetwork
from tidelog.testing.readiness import wait_until

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]
WAIT_S = 90


@pytest.fixture(scope="module")
def network(tidelog_fault_servers: FaultServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyNetwork]:
    """Two sites for all tests here; as `tidelog_network` gives them to one."""
    network = FaultyNetwork(tidelog_fault_servers, tmp_path_factory.mktemp("network"))
    try:
        for site in ("tokyo", "osaka"):
            network.site(site)
        yield network
    finally:
        network.close()


@pytest.fixture
def group(network: FaultyNetwork) -> Group:
    """Everything healed, both sites up to date."""
    network.heal()
    group = network.group("bank")
    group.create_volume("ledger", "1MiB").write(0, b"before")
    group.mark(fresh("before")).wait(["tokyo", "osaka"], timeout=WAIT_S)
    return group


def written(group: Group, data: bytes) -> None:
    group.volume("ledger").write(0, data)
    group.flush()


def holds(network: FaultyNetwork, site: str, data: bytes) -> bool:
    return network.view(site).group("bank").volume("ledger").read(0, len(data)) == data


def comes_to_hold(network: FaultyNetwork, site: str, data: bytes) -> None:
    assert wait_until(lambda: holds(network, site, data), WAIT_S), network.status(site, "bank")


def test_a_site_cut_off_from_kafka(network: FaultyNetwork, group: Group) -> None:
    """Its RPO rises while the other site goes on; healed, it catches up."""
    network.site("osaka").to_kafka.cut()
    written(group, b"during")
    comes_to_hold(network, "tokyo", b"during")
    osaka = network.view("osaka").group("bank")
    assert wait_until(lambda: osaka.rpo > 3, WAIT_S) and holds(network, "osaka", b"before")
    tokyo = network.view("tokyo").group("bank")
    assert wait_until(lambda: tokyo.rpo < osaka.rpo - 2, WAIT_S)
    network.heal()
    comes_to_hold(network, "osaka", b"during")
    assert wait_until(lambda: osaka.rpo < 3, WAIT_S)


def test_the_application_cut_off_from_kafka(network: FaultyNetwork, group: Group) -> None:
    """A flush fails and says of what; once healed, the group is opened again and goes on."""
    network.to_kafka.cut()
    group.volume("ledger").write(0, b"doubt?")
    with pytest.raises(LogUnavailable):
        group.flush()
    network.heal()
    again = network.group("bank")
    written(again, b"after!")
    comes_to_hold(network, "osaka", b"after!")


def test_a_site_cut_off_from_its_redis_and_a_slow_one(network: FaultyNetwork, group: Group) -> None:
    """The worker applies nothing while nobody can read; a delay is seen in how long a read takes."""
    osaka = network.site("osaka")
    osaka.to_redis.cut()
    written(group, b"during")
    comes_to_hold(network, "tokyo", b"during")
    osaka.to_redis.heal()
    comes_to_hold(network, "osaka", b"during")
    volume = network.view("osaka").group("bank").volume("ledger")
    osaka.to_redis.delay(0.3)
    began = time.monotonic()
    assert volume.read(0, 6) == b"during"
    assert time.monotonic() - began >= 0.6
    osaka.to_redis.heal()


def test_a_full_redis(network: FaultyNetwork, group: Group) -> None:
    """The site says that it is full, and cannot be read; with room again it goes on by itself, and lacks nothing."""
    osaka = network.site("osaka")
    osaka.fill()
    written(group, b"during")
    comes_to_hold(network, "tokyo", b"during")

    assert wait_until(lambda: "OOM" in network.reason("osaka", "bank"), WAIT_S), network.status("osaka", "bank")
    with pytest.raises(StoreUnavailable, match="OOM"):
        holds(network, "osaka", b"before")
    osaka.make_room()
    comes_to_hold(network, "osaka", b"during")
    assert wait_until(lambda: not network.reason("osaka", "bank"), WAIT_S)


def test_a_clock_that_is_set_back(network: FaultyNetwork, group: Group) -> None:
    """A lock that has ended still runs by that site's clock: it halts in front of the drop, and only that site does.
    With the right time, and its worker started again, it goes on."""
    osaka = network.site("osaka")
    osaka.set_clock(-86_400)

    def behind() -> bool:
        status = network.status("osaka", "bank")
        return status is not None and status.reported_us < wall_us() - 86_000_000_000

    try:
        assert wait_until(behind, WAIT_S), network.status("osaka", "bank")
        locked = fresh("locked")
        group.mark(locked).wait(["tokyo", "osaka"], timeout=WAIT_S)
        end = group.lock_copy(locked, timedelta(seconds=2))
        assert wait_until(lambda: wall_us() > end.timestamp() * 1_000_000, WAIT_S)
        group.drop_copy(locked)
        written(group, b"during")
        comes_to_hold(network, "tokyo", b"during")

        assert wait_until(lambda: network.reason("osaka", "bank").startswith("LockInDoubt"), WAIT_S)
        assert holds(network, "osaka", b"before")
    finally:  # one that has halted is not healed by the right time
        osaka.set_clock(0)
        osaka.worker.restart()
    comes_to_hold(network, "osaka", b"during")


@pytest.mark.parametrize(("fault", "victim"), [("pause", "kafka"), ("kill", "redis"), ("kill", "worker")])
def test_killed_and_frozen(victim: str, fault: str, network: FaultyNetwork, group: Group) -> None:
    """osaka gets nothing while it lasts, and everything once it is over, also what was killed with its memory."""
    osaka = network.site("osaka")
    server = {"kafka": network.kafka, "redis": osaka.redis, "worker": osaka.worker}[victim]
    getattr(server, fault)()
    if victim == "kafka":
        group.volume("ledger").write(0, b"doubt?")
        with pytest.raises(LogUnavailable):
            group.flush()
    else:
        written(group, b"during")
        comes_to_hold(network, "tokyo", b"during")
    if victim == "worker":
        assert holds(network, "osaka", b"before")
    network.heal()
    written(network.group("bank"), b"after!")
    comes_to_hold(network, "osaka", b"after!")
