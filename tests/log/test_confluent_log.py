"""A log for the rest of the world, on a real Kafka: read by Confluent's client and deserializer, by kafka-python and by
kcat; and by our own sites with no registry left."""

import subprocess
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import asdict
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext
from kafka import KafkaConsumer
from kafka import TopicPartition as Partition

from tests.log.registry_server import Registry, serving
from tests.tools import tool
from tidelog.clock import iso
from tidelog.config import Config
from tidelog.consumers.access import open_group
from tidelog.consumers.deployment import RealDeployment
from tidelog.errors import RegistryUnavailable
from tidelog.producers.opening import open_epoch
from tidelog.schemas.chain import origin
from tidelog.schemas.codec import Codec
from tidelog.schemas.events import EVENT_TYPES, Marker
from tidelog.testing.running import RunningDeployment

pytestmark = pytest.mark.servers


class Lab:
    """A group whose writers frame their events as they are told, and a registry that can go away."""

    def __init__(self, running: RunningDeployment, stack: ExitStack) -> None:
        self.name, self.registry = f"bank-{uuid.uuid4().hex[:12]}", Registry()  # Redis is shared by all tests
        self.running, self._stack = running, stack
        self.plain: Config = running.deployment.config
        self._serving = stack.enter_context(ExitStack())
        url = self._serving.enter_context(serving(self.registry))
        changed = {"groups": {self.name: {"wire_format": "confluent"}}, "schema_registry": {"url": url}}
        self.confluent = Config(**(self.plain.model_dump(exclude_unset=True) | changed))
        self.record = running.deployment.cluster.create_group(self.name)

    def lose_registry(self) -> None:
        self._serving.close()

    def deployment(self, config: Config) -> RealDeployment:
        return self._stack.enter_context(closing(RealDeployment(config)))

    def values(self) -> list[Any]:
        """Everything in the log, as librdkafka reads it."""
        settings = {"bootstrap.servers": ",".join(self.plain.kafka.bootstrap_servers), "group.id": "nobody"}
        consumer = Consumer(settings | {"enable.auto.commit": False})
        with closing(consumer), closing(self.running.deployment.cluster.log(self.record)) as log:
            consumer.assign([TopicPartition(self.record.topic, 0, 0)])
            found: list[Any] = []
            while len(found) < log.bounds().end:
                message = consumer.poll(60)
                assert message is not None and message.error() is None
                found.append(message)
            return found


@pytest.fixture
def lab(tidelog_deployment: RunningDeployment) -> Iterator[Lab]:
    with ExitStack() as stack:
        yield Lab(tidelog_deployment, stack)


def test_read_by_confluents_deserializer_and_by_sites_without_a_registry(lab: Lab) -> None:
    """A log that mixes both framings: each record of Confluent's is decoded to the very fields by an independent
    reader, and two sites that begin after the registry is lost have equal copies of all of it."""
    for number, config in enumerate((lab.plain, lab.confluent, lab.plain, lab.confluent)):
        with open_group(lab.name, deployment=lab.deployment(config)) as group:
            group.create_volume(f"v{number}", "64KiB").write(4096, b"hello %d" % number)
            group.volume(f"v{number}").discard(0, 4096)
            group.mark(f"m{number}")
    asked = len(lab.registry.requests)
    assert asked == 2 * len(EVENT_TYPES)  # each process asks once for each type
    subjects = {f"{lab.record.topic}-tidelog.v1.{kind}" for kind in EVENT_TYPES}  # TopicRecordName
    assert set(lab.registry.client.get_subjects()) == subjects
    decode, codec = AvroDeserializer(lab.registry.client), Codec()
    context = SerializationContext(lab.record.topic, MessageField.VALUE)
    kinds = {0: 0, 0xC3: 0}
    for message in lab.values():
        event = codec.decode(message.value())
        kinds[message.value()[0]] += 1
        if message.value()[0] == 0:
            assert decode(message.value(), context) == asdict(event)
    assert kinds[0] >= 10 and kinds[0xC3] >= 10
    lab.lose_registry()
    for site in ("tokyo", "osaka"):
        lab.running.wait_for_store(site, lab.name, timeout=60)
    with open_group(lab.name, deployment=lab.deployment(lab.plain)) as group:
        copy = group.mark("last")
        copy.wait(timeout=60, sites=["tokyo", "osaka"])  # which says that their digests are equal
        assert [group.volume(f"v{number}").read(4096, 7) for number in range(4)] == [b"hello %d" % n for n in range(4)]
    assert len(lab.registry.requests) == asked


def test_a_registry_that_is_away_fences_nobody_and_stops_no_open_writer(lab: Lab) -> None:
    """Opening is refused before anything is sent; who is open writes on."""
    deployment = lab.deployment(lab.confluent)
    with open_group(lab.name, deployment=deployment) as group:
        volume = group.create_volume("ledger", "64KiB")
        group.flush()
        lab.lose_registry()
        volume.write(0, b"on")
        group.flush()
        end = len(lab.values())
        with pytest.raises(RegistryUnavailable, match="does not answer"):
            open_group(lab.name, deployment=lab.deployment(lab.confluent))
        volume.write(0, b"and on")
        group.flush()
        assert group.session.error is None and len(lab.values()) > end
    assert lab.values()[-1].value()[0] == 0


def test_recovery_opens_an_epoch_without_a_registry(lab: Lab) -> None:
    """As `site promote` does: its one record is in the encoding that needs none. With a registry it is framed."""
    for lost in (False, True):
        if lost:
            lab.lose_registry()
        deployment = lab.deployment(lab.confluent)
        with closing(deployment.cluster.log(lab.record)) as log:
            start = origin(lab.record.group_id)
            assert open_epoch(log, Codec(), start, lab.confluent.writer, behind=None, opened_by="promotion")
    assert [message.value()[0] for message in lab.values()] == [0, 0xC3]


@pytest.mark.parametrize("framing", ["plain", "confluent"])
def test_markers_carry_cloud_events_attributes(lab: Lab, framing: str) -> None:
    """For whoever reads with kafka-python or kcat; no other record has headers, and the log counts without them."""
    with open_group(lab.name, deployment=lab.deployment(getattr(lab, framing))) as group:
        group.create_volume("ledger", "64KiB").write(0, b"hello")
        group.mark("noon")
        group.flush()
    servers = list(lab.plain.kafka.bootstrap_servers)
    with closing(KafkaConsumer(bootstrap_servers=servers, consumer_timeout_ms=60_000)) as consumer:
        consumer.assign([Partition(lab.record.topic, 0)])
        consumer.seek_to_beginning()
        end = consumer.end_offsets([Partition(lab.record.topic, 0)])[Partition(lab.record.topic, 0)]
        records = [next(consumer) for _ in range(end)]
    (marker,) = (record for record in records if record.headers)
    event = Codec().decode(marker.value)
    assert isinstance(event, Marker) and event.name == "noon"
    assert dict(marker.headers) == {
        "ce_specversion": b"1.0",
        "ce_id": event.seal.hex().encode(),
        "ce_source": f"urn:tidelog:{lab.record.group_id}".encode(),
        "ce_type": b"tidelog.v1.Marker",
        "ce_subject": b"noon",
        "ce_time": iso(event.timestamp_us).encode(),
        "content-type": b"application/avro",
    }
    command = [tool("kcat"), "-C", "-b", servers[0], "-t", lab.record.topic, "-p", "0", "-o", "beginning", "-e", "-q"]
    shown = subprocess.run([*command, "-f", "%o %h\n"], capture_output=True, text=True, check=True, timeout=60)
    lines = [line for line in shown.stdout.splitlines() if "ce_" in line]
    assert len(lines) == 1 and lines[0].startswith(f"{marker.offset} ce_specversion=1.0,ce_id={event.seal.hex()},")
