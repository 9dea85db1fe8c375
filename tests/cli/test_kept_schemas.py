"""`tidelog group schemas`: what an upgrade adds to the topic by which logs are read without tidelog."""

import json
from contextlib import closing

import pytest
from kafka import KafkaProducer

from tests.cli.operating import Operator
from tidelog.schemas.registry import schemas


@pytest.mark.servers
def test_what_is_missing_is_put_there(operator: Operator) -> None:
    """All before the first group; none behind it; and the one that was taken away."""
    first = json.loads(operator.ok("group", "schemas", "--json"))
    assert first["topic"] == f"{operator.prefix}-schemas" and set(first["added"]) == set(schemas())
    operator.ok("group", "create", "bank")
    assert b"none: all are there" in operator.ok("group", "schemas")
    with closing(KafkaProducer(bootstrap_servers=operator.kafka)) as producer:
        key = schemas()["Marker"].fingerprint.hex().encode()
        producer.send(first["topic"], None, key=key, partition=0).get(60)
    assert json.loads(operator.ok("group", "schemas", "--json"))["added"] == ["Marker"]
    assert json.loads(operator.ok("group", "schemas", "--json"))["added"] == []
