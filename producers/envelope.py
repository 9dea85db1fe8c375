"""How a writer's events are put on Kafka: the framing, and the headers that markers carry for other programs."""

import threading
from collections.abc import Callable, Mapping
from io import BytesIO

from fastavro import schemaless_reader

from tidelog.clock import iso
from tidelog.config import Config
from tidelog.errors import ConfigError, RegistryUnavailable
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
    """Makes them, one for each group. The ids of schemas are asked for once. Thread-safe."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._registry = SchemaRegistry(config.schema_registry) if config.schema_registry is not None else None
        self._lock = threading.Lock()
        self._headers: dict[str, Mapping[bytes, bytes]] = {}  # empty where the registry has not given ids

    def require(self, group: GroupCreated) -> None:
        """Asks for the ids of a group that is configured for Confluent's framing. Raises `RegistryUnavailable`,
        `ConfigError`."""
        with self._lock:
            if self._framed(group) and not self._headers.get(group.topic):
                self._headers[group.topic] = self._ask(group)

    def of(self, group: GroupCreated) -> Envelope:
        """What makes a record of an event in single-object encoding. Where the registry does not give ids it stays in
        that: what recovery opens, such as a promotion's epoch, must not wait for a registry that may be lost."""
        source = f"urn:tidelog:{group.group_id}"
        with self._lock:
            if self._framed(group) and group.topic not in self._headers:
                try:
                    self._headers[group.topic] = self._ask(group)
                except (RegistryUnavailable, ConfigError):
                    self._headers[group.topic] = {}
            headers = self._headers.get(group.topic)
        if not headers:
            return lambda message: (message, marker_headers(message, source))
        return lambda message: (framed(message, headers), marker_headers(message, source))

    def _framed(self, group: GroupCreated) -> bool:
        configured = self._config.groups.get(group.group)
        return configured is not None and configured.wire_format == "confluent"

    def _ask(self, group: GroupCreated) -> Mapping[bytes, bytes]:
        assert self._registry is not None  # the configuration sees to that
        # TopicRecordName, since a log has records of several types.
        found = ((schemas()[kind], f"{group.topic}-{NAMESPACE}.{kind}") for kind in EVENT_TYPES)
        ids = {schema.header: self._registry.schema_id(subject, schema) for schema, subject in found}
        return {header: confluent_header(number) for header, number in ids.items()}


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
