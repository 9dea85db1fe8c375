"""How a writer's events are put on Kafka: the framing, and the headers that markers carry for other programs."""

from collections.abc import Callable, Mapping
from io import BytesIO

from fastavro import schemaless_reader

from tidelog.clock import iso
from tidelog.config import Config
from tidelog.producers.schema_registry import SchemaRegistry
from tidelog.schemas.codec import SEAL_SIZE
from tidelog.schemas.confluent import confluent_header, framed
from tidelog.schemas.control import GroupCreated
from tidelog.schemas.events import EVENT_TYPES, Marker
from tidelog.schemas.registry import HEADER_SIZE, NAMESPACE, schemas

Headers = list[tuple[str, bytes]]
Envelope = Callable[[bytes], tuple[bytes, Headers]]

_MARKER = schemas()[Marker.kind]
_NO_HEADERS: Headers = []


class Envelopes:
    """Makes them, one for each group. The ids of schemas are asked for once."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._registry = SchemaRegistry(config.schema_registry) if config.schema_registry is not None else None
        self._headers: dict[str, Mapping[bytes, bytes]] = {}

    def of(self, group: GroupCreated) -> Envelope:
        """What makes a record of an event in single-object encoding. Raises `RegistryUnavailable` and `ConfigError`
        where the group is configured for Confluent's framing."""
        source = f"urn:tidelog:{group.group_id}"
        configured = self._config.groups.get(group.group)
        if self._registry is None or configured is None or configured.wire_format != "confluent":
            return lambda message: (message, marker_headers(message, source))
        if group.topic not in self._headers:
            # TopicRecordName, since a log has records of several types.
            found = ((schemas()[kind], f"{group.topic}-{NAMESPACE}.{kind}") for kind in EVENT_TYPES)
            ids = {schema.header: self._registry.schema_id(subject, schema) for schema, subject in found}
            self._headers[group.topic] = {header: confluent_header(number) for header, number in ids.items()}
        headers = self._headers[group.topic]
        return lambda message: (framed(message, headers), marker_headers(message, source))


def plain(message: bytes) -> tuple[bytes, Headers]:
    """The envelope of a log that belongs to no group."""
    return message, _NO_HEADERS


def marker_headers(message: bytes, source: str) -> Headers:
    """CloudEvents attributes in binary mode (its Kafka protocol binding 1.0, section 3.2) of a marker; none of anything
    else, since each costs. They are not sealed, and tidelog reads none of them."""
    if message[:HEADER_SIZE] != _MARKER.header:
        return _NO_HEADERS
    body = BytesIO(message)
    body.seek(HEADER_SIZE)
    marker = schemaless_reader(body, _MARKER.parsed, None)
    assert isinstance(marker, dict)
    attributes = {
        "ce_specversion": "1.0",
        "ce_id": message[-SEAL_SIZE:].hex(),
        "ce_source": source,
        "ce_type": f"{NAMESPACE}.{Marker.kind}",
        "ce_subject": marker["name"],
        "ce_time": iso(marker["timestamp_us"]),
        "content-type": "application/avro",
    }
    return [(name, value.encode()) for name, value in attributes.items()]
