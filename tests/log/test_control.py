"""What every control topic and cluster does, in memory and on Kafka."""

import threading
import time
from contextlib import closing

import pytest

from tidelog.config import Config
from tidelog.errors import AlreadyExists, ConfigError, CorruptEvent, InvalidName, LogUnavailable, NotFound
from tidelog.producers.cluster import KafkaCluster, MemoryCluster
from tidelog.producers.kafka_clients import open_admin, open_producer
from tidelog.producers.kafka_consumer import PartitionConsumer
from tidelog.producers.kafka_control import publish_schemas
from tidelog.producers.kafka_topics import LOG_RULES, make_topic
from tidelog.schemas.control import CopyFormed, GroupCreated, SiteStatus, decode_control
from tidelog.schemas.registry import schemas

KEY = "00112233445566778899aabbccddeeff"


def receipt(site="osaka", sequence=7, **changes):
    fields = {
        "site": site,
        "group": "bank",
        "sequence": sequence,
        "seal": b"s" * 16,
        "name": "end-of-day",
        "timestamp_us": 1,
        "digest": b"d" * 16,
        "blocks_changed": 3,
        "formed_us": 2,
    }
    return CopyFormed(**fields | changes)


def status(**changes):
    fields = {
        "site": "osaka",
        "group": "bank",
        "state": "STREAMING",
        "sequence": 7,
        "seal": b"s" * 16,
        "epoch": 1,
        "timestamp_us": 1,
        "offset": 3,
        "end_offset": 4,
        "events_applied": 5,
        "redelivered": 0,
        "void": 0,
        "reported_us": 2,
        "worker": "host:1",
    }
    return SiteStatus(**fields | changes)


@pytest.mark.parametrize("record", [receipt(), status(reason="LogGap", hint="open a writer")], ids=lambda r: r.kind)
def test_a_record_comes_back_as_it_was(record):
    assert decode_control(record.encode()) == record


@pytest.mark.parametrize("value", [b"", b"junk", receipt().encode()[:-1], receipt().encode() + b"x"])
def test_bytes_that_are_no_record_are_refused(value):
    with pytest.raises(CorruptEvent):
        decode_control(value)


def test_keys_say_what_a_record_replaces():
    assert receipt().key == "copy/bank/7/end-of-day/osaka"
    assert status().key == "status/bank/osaka"


def test_the_newest_record_of_a_key_counts(cluster):
    control = cluster.control
    assert dict(control.snapshot()) == {}
    control.publish(receipt(digest=b"o" * 16))
    control.publish(status())
    control.publish(receipt(digest=b"n" * 16))
    view = control.snapshot()
    assert set(view) == {receipt().key, status().key}
    assert view[receipt().key].digest == b"n" * 16
    control.retract(receipt().key)
    assert set(control.snapshot()) == {status().key}
    assert set(view) == {receipt().key, status().key}


def test_wait_for_sees_what_is_there_and_what_comes(cluster):
    control = cluster.control
    control.publish(receipt("tokyo"))
    assert control.wait_for(lambda view: receipt("tokyo").key in view, 5)
    later = threading.Timer(0.3, lambda: control.publish(receipt("osaka")))
    later.start()
    assert control.wait_for(lambda view: receipt("osaka").key in view, 10)
    later.join()
    started = time.monotonic()
    assert not control.wait_for(lambda view: receipt("london").key in view, 0.3)
    assert time.monotonic() - started < 5


def test_many_may_wait_and_publish_at_once(cluster):
    control = cluster.control
    control.snapshot()
    met = []
    waiters = [
        threading.Thread(
            target=lambda n=n: met.append(control.wait_for(lambda view: receipt(sequence=n).key in view, 20))
        )
        for n in range(1, 5)
    ]
    for waiter in waiters:
        waiter.start()
    for number in range(1, 5):
        control.publish(receipt(sequence=number))
    for waiter in waiters:
        waiter.join()
    assert met == [True] * 4


def test_who_asks_goes_before_who_waits_and_who_gives_up_is_followed_by_another(cluster):
    """Many that wait hold up nobody who asks. Half of them wait in vain; all of the others hear what comes then."""
    control = cluster.control
    control.snapshot()
    met = []

    def wait(seconds: float) -> None:
        met.append(control.wait_for(lambda view: receipt("london").key in view, seconds))

    waiters = [threading.Thread(target=wait, args=(seconds,)) for seconds in [0.5] * 8 + [60.0] * 8]
    for waiter in waiters:
        waiter.start()
    started = time.monotonic()
    for number in range(30):
        control.publish(receipt(sequence=number))
        assert receipt(sequence=number).key in control.snapshot()
    assert time.monotonic() - started < 10  # a second; 16 s where each that waits has a turn of its own first
    for waiter in waiters[:8]:
        waiter.join(30)
    assert met == [False] * 8
    control.publish(receipt("london"))
    for waiter in waiters[8:]:
        waiter.join(30)
    assert met == [False] * 8 + [True] * 8


def put_raw(cluster, key, value):
    """A record that no tidelog of today writes."""
    if isinstance(cluster, MemoryCluster):
        cluster.control.put(key, value)
        return
    with closing(open_producer(cluster.config)) as producer:
        producer.send(f"{cluster.config.prefix}-control", value, key=key, partition=0).get(10)


def test_what_cannot_be_read_is_kept_in_sight_and_harms_nothing(cluster):
    control = cluster.control
    control.publish(receipt())
    future = b"\xc3\x01" + b"\x07" * 8 + b"body"
    put_raw(cluster, b"order/1", future)
    put_raw(cluster, receipt().key.encode(), b"junk")
    put_raw(cluster, b"status/other/key", status().encode())
    control.publish(status())
    assert set(control.snapshot()) == {status().key}
    assert set(control.unreadable) == {"order/1", receipt().key, "status/other/key"}
    assert "fingerprint" in control.unreadable["order/1"]
    control.publish(receipt())
    assert receipt().key in control.snapshot()
    assert receipt().key not in control.unreadable


def test_a_group_is_created_found_and_listed(cluster):
    bank, archive = cluster.create_group("bank"), cluster.create_group("archive")
    assert (bank.group, bank.keyed, bank.topic) == ("bank", False, f"{cluster.config.prefix}.bank")
    assert len(bank.group_id) == 36
    assert bank.group_id != archive.group_id
    assert cluster.find_group("bank") == bank
    assert cluster.list_groups() == [archive, bank]
    with closing(cluster.log(bank)) as log:
        log.check()
        assert log.bounds().end == 0


def test_names_are_checked_and_taken_once(cluster):
    cluster.create_group("bank")
    with pytest.raises(AlreadyExists):
        cluster.create_group("bank")
    with pytest.raises(InvalidName):
        cluster.create_group("Bank!")
    with pytest.raises(NotFound, match="no group none") as raised:
        cluster.find_group("none")
    assert "bank" in raised.value.hint


def test_a_log_without_its_topic_is_not_found(cluster):
    ghost = GroupCreated(group="x", group_id="i", topic=f"{cluster.config.prefix}.x", keyed=False, created_us=1)
    with pytest.raises(NotFound):
        cluster.log(ghost)


def test_keys_and_groups_must_match():
    config = Config(groups={"bank": {"key": KEY}})
    with MemoryCluster(config) as cluster:
        bank, plain = cluster.create_group("bank"), cluster.create_group("plain")
        assert (bank.keyed, plain.keyed) == (True, False)
        assert cluster.codec(bank).seal(b"x") != cluster.codec(plain).seal(b"x")
        with pytest.raises(ConfigError, match="no key"):
            cluster.create_group("other", keyed=True)
        with pytest.raises(ConfigError, match="is keyed"):
            MemoryCluster().codec(bank)
        with pytest.raises(ConfigError, match="is not keyed"):
            cluster.codec(bank.model_copy(update={"keyed": False}))
    with pytest.raises(ConfigError, match="shall not"):
        MemoryCluster(config).create_group("bank", keyed=False)


def test_a_control_topic_that_is_cut_off_says_so():
    cluster = MemoryCluster()
    cluster.control.cut_off()
    for ask in (cluster.list_groups, lambda: cluster.control.publish(receipt())):
        with pytest.raises(LogUnavailable):
            ask()
    with pytest.raises(LogUnavailable):
        cluster.control.wait_for(lambda _: False, 1)
    cluster.control.restore()
    assert cluster.list_groups() == []


@pytest.mark.servers
def test_creating_goes_on_where_a_crash_left_it(config):
    with closing(open_admin(config)) as admin:
        make_topic(admin, config, f"{config.prefix}.bank", LOG_RULES)
    with KafkaCluster(config) as one, KafkaCluster(config) as other:
        created = one.create_group("bank")
        assert other.find_group("bank") == created


@pytest.mark.servers
def test_a_topic_with_records_is_not_taken_for_a_new_group(config):
    topic = f"{config.prefix}.bank"
    with closing(open_admin(config)) as admin:
        make_topic(admin, config, topic, LOG_RULES)
    with closing(open_producer(config)) as producer:
        producer.send(topic, b"someone's", partition=0).get(10)
    with KafkaCluster(config) as cluster, pytest.raises(AlreadyExists, match="belong to no group"):
        cluster.create_group("bank")


@pytest.mark.servers
def test_two_who_create_a_group_at_once_agree_on_its_id(config):
    made = []

    def create():
        with KafkaCluster(config) as cluster:
            try:
                made.append(cluster.create_group("bank").group_id)
            except AlreadyExists:
                made.append(cluster.find_group("bank").group_id)

    threads = [threading.Thread(target=create) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 2
    assert len(set(made)) == 1


@pytest.mark.servers
def test_schemas_are_published_once_each_under_their_fingerprint(config):
    topic = f"{config.prefix}-schemas"
    assert set(publish_schemas(config, topic)) == set(schemas())
    assert publish_schemas(config, topic) == []
    with closing(PartitionConsumer(config, topic)) as consumer:
        consumer.seek(0)
        found = {}
        while consumer.position < len(schemas()):
            found |= {record.key: record.value for record in consumer.fetch(1)}
    assert found == {schema.fingerprint.hex().encode(): schema.text.encode() for schema in schemas().values()}
