"""What goes wrong with real servers: Redis losing its tail, Kafka and Redis gone for a while, two of everything."""

import itertools
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.crash.child import BLOCK, BLOCKS, content
from tests.crash.test_sigkill import copies_are_equal, last_write
from tests.faults import folded
from tidelog.config import Config
from tidelog.consumers.deployment import RealDeployment
from tidelog.consumers.membership import SoleWorker
from tidelog.consumers.site_view import SiteGroup
from tidelog.consumers.worker import SiteWorker
from tidelog.errors import Fenced, LogUnavailable, StoreUnavailable, TidelogError
from tidelog.producers.group import Group
from tidelog.testing.processes import KafkaServer, RedisServer
from tidelog.testing.running import RunningDeployment

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]
GROUP = "bank"


def wait_until(done: Callable[[], bool], what: str, timeout: float = 90.0) -> None:
    """Waits for a condition, and fails by name when it does not come."""
    deadline = time.monotonic() + timeout
    while not done():
        assert time.monotonic() < deadline, f"not within {timeout:g} s: {what}"
        time.sleep(0.02)


class Servers:
    """A Kafka and two Redis as local processes, whatever serves other tests: these are killed and edited."""

    def __init__(self, folder: Path) -> None:
        self.kafka = KafkaServer()
        self.redis = {
            name: RedisServer(name=name, appendonly="everysec", data_dir=folder / name) for name in ("tokyo", "osaka")
        }

    def start(self) -> None:
        self.kafka.start()
        for server in self.redis.values():
            server.start()

    def close(self) -> None:
        self.kafka.close()
        for server in self.redis.values():
            server.close()

    def config(self, **writer: float) -> Config:
        return Config(
            prefix=f"faults-{uuid.uuid4().hex[:8]}",
            kafka={"bootstrap_servers": self.kafka.bootstrap_servers, "request_timeout": 3.0, "connect_timeout": 3.0},
            sites={name: {"redis": {"url": server.url, "socket_timeout": 3.0}} for name, server in self.redis.items()},
            primary="tokyo",
            writer=writer,
            worker={"status_interval": 0.2},
        )


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Shared by this module."""
    there = Servers(tmp_path_factory.mktemp("redis"))
    try:
        there.start()
        yield there
    finally:
        there.close()


@pytest.fixture
def running(servers: Servers) -> Iterator[RunningDeployment]:
    """Both sites' stores empty, their workers running, whatever a test that failed has left."""
    import redis

    servers.start()
    for server in servers.redis.values():
        with redis.Redis.from_url(server.url) as client:
            client.flushall()
    with RunningDeployment(RealDeployment(servers.config(write_timeout=5.0))) as deployment:
        deployment.deployment.cluster.create_group(GROUP)
        deployment.wait_for_store("tokyo", GROUP)
        deployment.wait_for_store("osaka", GROUP)
        yield deployment


def write_some(group: Group, first: int, last: int, mark_every: int = 0) -> None:
    """Writes ``first`` to ``last`` of the numbered writes, with a marker now and then, all flushed."""
    volume = group.create_volume("data", BLOCK * BLOCKS)
    for number in range(first, last + 1):
        volume.write(number % BLOCKS * BLOCK, content(number))
        if mark_every and number % mark_every == 0:
            group.mark(f"copy-{number}")
    group.flush()


def image(site: SiteGroup) -> bytes:
    return site.volume("data").read(0, BLOCK * BLOCKS)


def all_equal(running: RunningDeployment, group: Group, name: str) -> None:
    """A last marker, both receipts, and every copy compared."""
    group.mark(name).wait(sites=["tokyo", "osaka"], timeout=90)
    sites = [running.site(site).group(GROUP) for site in ("tokyo", "osaka")]
    assert copies_are_equal(sites) >= 1
    assert last_write(image(sites[0])) == last_write(image(sites[1])) > 0
    folded.all_equal(running.deployment, GROUP, ("tokyo", "osaka"))


def test_a_redis_that_loses_its_tail_heals_by_replay(servers: Servers, running: RunningDeployment) -> None:
    """AOF everysec, SIGKILL, the append-only file cut short: position and data go back together, then forward."""
    group = running.group(GROUP)
    write_some(group, 1, 400, mark_every=50)
    osaka = running.site("osaka").group(GROUP)
    wait_until(lambda: osaka.position.head.sequence >= group.session.confirmed.sequence, "osaka has applied all")
    before = osaka.position
    time.sleep(1.1)  # everysec: by now the server has written all of it; what is lost is what the test cuts off

    running.stop_site("osaka")
    server = servers.redis["osaka"]
    server.kill()
    (tail,) = (servers.redis["osaka"].data_dir).rglob("*.incr.aof")
    with tail.open("r+b") as file:
        file.truncate(tail.stat().st_size * 2 // 3)
    server.start()
    wait_until(lambda: osaka.position.head.sequence < before.head.sequence, "the position went back with the data")
    gone_back = last_write(image(osaka))
    assert gone_back < 400, "nothing was lost: the test has no teeth"

    running.site("osaka")  # a worker again
    write_some(group, 401, 450, mark_every=50)
    all_equal(running, group, "after")


def test_a_redis_that_loses_its_tail_takes_a_clone_back_with_it(servers: Servers, running: RunningDeployment) -> None:
    """Its last writes are gone, each of them wholly; then it is written to again, while its copy is dropped."""
    group = running.group(GROUP)
    write_some(group, 1, 100)
    group.mark("base").wait(sites=["osaka"], timeout=90)
    osaka = running.site("osaka").group(GROUP)
    clone = osaka.create_clone("base", "drill").volume("data")
    base = clone.read(0, BLOCK * BLOCKS)
    time.sleep(1.1)  # everysec
    server = servers.redis["osaka"]
    (tail,) = server.data_dir.rglob("*.incr.aof")
    made = tail.stat().st_size
    for number in range(1, 101):
        clone.write(number * 100, bytes([number]) * BLOCK)
    time.sleep(1.1)
    server.kill()
    with tail.open("r+b") as file:
        file.truncate((made + tail.stat().st_size) // 2)
    server.start()
    found = clone.read(0, BLOCK * BLOCKS)
    states = [bytearray(base)]
    for number in range(1, 101):
        states.append(bytearray(states[-1]))
        states[-1][number * 100 : number * 100 + BLOCK] = bytes([number]) * BLOCK
    assert 0 < states.index(found) < 100
    clone.write(0, b"again")
    group.drop_copy("base")
    write_some(group, 101, 150, mark_every=25)
    all_equal(running, group, "after")
    assert clone.read(0, BLOCK * BLOCKS) == b"again" + found[5:]
    osaka.drop_clone("drill")


def test_kafka_away_is_an_error_for_the_writer_and_a_pause_for_sites(
    servers: Servers, running: RunningDeployment
) -> None:
    """A flush with no Kafka ends in LogUnavailable, never in silence; when it is back all goes on by itself."""
    group = running.group(GROUP)
    write_some(group, 1, 100, mark_every=40)
    servers.kafka.kill()
    try:
        group.volume("data").write(0, content(BLOCKS * 2))
        with pytest.raises(LogUnavailable):
            group.flush()
        with pytest.raises(LogUnavailable):  # the session has ended
            group.volume("data").write(0, b"x")
        with pytest.raises(LogUnavailable):
            running.deployment.cluster.log(running.deployment.cluster.find_group(GROUP)).bounds()
    finally:
        servers.kafka.start()
    again = running.group(GROUP)
    write_some(again, 101, 200, mark_every=40)
    all_equal(running, again, "after")


def test_redis_away_is_a_pause_for_its_site(servers: Servers, running: RunningDeployment) -> None:
    """A site whose Redis is stopped says so, loses nothing, and catches up when it is back."""
    group = running.group(GROUP)
    write_some(group, 1, 50)
    servers.redis["osaka"].stop()
    with pytest.raises(StoreUnavailable):
        running.site("osaka").group(GROUP)
    write_some(group, 51, 150, mark_every=30)
    servers.redis["osaka"].start()
    all_equal(running, group, "after")


def test_two_writers_take_turns_and_no_flush_that_returned_is_void(running: RunningDeployment) -> None:
    """Two applications that fence each other again and again: each flushed write is in the image of every site."""
    flushed: list[tuple[int, int]] = []
    errors: list[TidelogError] = []
    ended = threading.Event()  # by one: the other is fenced no more

    def turn(who: int, numbers: Iterator[int]) -> None:
        group = running.group(GROUP)
        try:
            volume = group.create_volume(f"data-{who}", BLOCK * 64)
            while not ended.wait(0.01):
                number = next(numbers)
                volume.write(number % 64 * BLOCK, number.to_bytes(8, "big") * (BLOCK // 8))
                group.flush()
                flushed.append((who, number))
        finally:
            group.abandon()

    def compete(who: int) -> None:
        numbers = itertools.count(1)
        try:
            for _ in range(6):
                try:
                    turn(who, numbers)
                except Fenced as error:
                    errors.append(error)
        finally:
            ended.set()

    threads = [threading.Thread(target=compete, args=(who,)) for who in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    group = running.group(GROUP)
    group.mark("after").wait(sites=["tokyo", "osaka"], timeout=60)
    assert len(errors) >= 6, "who was fenced six times has set the end"
    for name in ("tokyo", "osaka"):
        copy = running.site(name).group(GROUP).copy("after")
        for who in (1, 2):
            data = copy.volume(f"data-{who}").read(0, BLOCK * 64)
            for number in (number for writer, number in flushed if writer == who):
                at = number % 64 * BLOCK  # a later write may have overwritten it
                assert int.from_bytes(data[at : at + 8], "big") >= number, f"write {number} of {who} is not at {name}"


def test_two_workers_on_one_store_apply_each_event_once(running: RunningDeployment) -> None:
    """A second worker for the same site, at the same time: the store's position lets one transaction through."""
    second = SiteWorker(RealDeployment(running.deployment.config), "osaka", SoleWorker)
    thread = threading.Thread(target=second.run, daemon=True)
    thread.start()
    try:
        group = running.group(GROUP)
        for start in range(1, 600, 30):
            write_some(group, start, start + 29, mark_every=10)
        all_equal(running, group, "after")
        assert last_write(image(running.site("osaka").group(GROUP))) == 600
    finally:
        second.stop()
        thread.join(60)


def test_a_wrong_redis_password_is_said_and_changes_nothing(tmp_path: Path, servers: Servers) -> None:
    """StoreUnavailable with a hint, and no secret in the message."""
    with RedisServer(name="locked", password="right-password", data_dir=tmp_path / "locked") as locked:
        url = locked.url.replace("right-password", "wrong-password")
        config = servers.config().model_copy(update={"sites": Config(sites={"tokyo": {"redis": {"url": url}}}).sites})
        with RunningDeployment(RealDeployment(config)) as deployment:
            deployment.deployment.cluster.create_group("secret")
            with pytest.raises(StoreUnavailable) as caught:
                deployment.site("tokyo").group("secret")
        assert "password" in (str(caught.value) + caught.value.hint).lower()
        assert "wrong-password" not in str(caught.value) + caught.value.hint + repr(config)
