"""Brokers share what the first of them has loaded."""

from pathlib import Path

import pytest

from tidelog.testing.kafka_classes import archive_classes
from tidelog.testing.processes import KafkaServer


@pytest.mark.servers
def test_a_broker_maps_the_classes_that_were_kept() -> None:
    archive = archive_classes()
    made = archive.stat()
    with KafkaServer() as server:
        assert str(archive) in Path(f"/proc/{server.pid}/maps").read_text()
        assert "[cds]" not in server.log_file.read_text(), "the JVM does not take them"
    assert archive_classes().stat().st_ino == made.st_ino, "it is made once"
