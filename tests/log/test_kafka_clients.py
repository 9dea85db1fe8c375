"""kafka-python is set up as a log needs it, whatever the user configures."""

import socket
import subprocess
import sys

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka import errors as kafka_errors

from tidelog.config import Config
from tidelog.errors import ConfigError, CorruptEvent, LogUnavailable, NotFound
from tidelog.kafka_options import PINNED
from tidelog.producers.kafka_clients import (
    REQUEST_SIZE,
    admin_options,
    as_tidelog_error,
    consumer_options,
    open_producer,
    producer_options,
    require_crc32c,
    retried,
)
from tidelog.schemas.codec import MAX_MESSAGE_SIZE

CONFIG = Config(
    kafka={
        "bootstrap_servers": ["a:1", "b:2"],
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "me",
        "sasl_plain_password": "hush",
        "ssl_cafile": "/ca.pem",
        "request_timeout": "7s",
        "producer": {"retry.backoff.ms": 30, "compression_type": "gzip"},
        "consumer": {"client.rack": "r1"},
        "admin": {"retry_backoff_ms": 40},
    }
)


def test_the_connection_is_the_same_for_all_three():
    for options in (producer_options(CONFIG), consumer_options(CONFIG), admin_options(CONFIG)):
        assert options["bootstrap_servers"] == ["a:1", "b:2"]
        assert options["sasl_plain_password"] == "hush"
        assert options["ssl_cafile"] == "/ca.pem"
        assert options["request_timeout_ms"] == 7000


def test_options_are_all_known_to_kafka_python():
    assert set(producer_options(CONFIG)) <= set(KafkaProducer.DEFAULT_CONFIG)
    assert set(consumer_options(CONFIG)) <= set(KafkaConsumer.DEFAULT_CONFIG)
    assert set(admin_options(CONFIG)) <= set(KafkaAdminClient.DEFAULT_CONFIG)


def test_options_pass_through():
    assert producer_options(CONFIG)["retry_backoff_ms"] == 30
    assert producer_options(CONFIG)["compression_type"] == "gzip"
    assert consumer_options(CONFIG)["client_rack"] == "r1"
    assert admin_options(CONFIG)["retry_backoff_ms"] == 40


def test_what_confirmed_writes_rest_on_is_pinned():
    options = producer_options(CONFIG)
    expected = {"acks": "all", "enable_idempotence": True, "linger_ms": 0, "allow_auto_create_topics": False}
    assert expected.items() <= options.items()
    assert options["max_in_flight_requests_per_connection"] <= 5
    assert min(options["retries"], options["delivery_timeout_ms"]) == 2**31 - 1
    assert options["max_request_size"] == REQUEST_SIZE > MAX_MESSAGE_SIZE


def test_what_reading_rests_on_is_pinned():
    expected = {
        "enable_auto_commit": False,
        "auto_offset_reset": "none",
        "isolation_level": "read_committed",
        "check_crcs": True,
        "allow_auto_create_topics": False,
    }
    assert expected.items() <= consumer_options(CONFIG).items()


def test_each_pinned_setting_exists_and_says_why():
    known = set(KafkaProducer.DEFAULT_CONFIG) | set(KafkaConsumer.DEFAULT_CONFIG)
    assert set(PINNED) <= known
    assert all(len(reason) > 10 for reason in PINNED.values())


def test_without_the_c_crc32c_nothing_opens(monkeypatch):
    monkeypatch.setitem(sys.modules, "crc32c", None)
    with pytest.raises(ConfigError, match="crc32c"):
        require_crc32c()
    with pytest.raises(ConfigError, match="crc32c"):
        open_producer(CONFIG)


def test_settings_that_kafka_python_cannot_use_are_config_errors():
    config = Config(kafka={"security_protocol": "SSL", "ssl_cafile": "/no/such/file", "connect_timeout": "0.5s"})
    with pytest.raises((ConfigError, LogUnavailable)) as raised:
        open_producer(config)
    assert "hush" not in str(raised.value)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (kafka_errors.KafkaTimeoutError("late"), LogUnavailable),
        (kafka_errors.KafkaConnectionError("gone"), LogUnavailable),
        (kafka_errors.TopicAuthorizationFailedError("t"), LogUnavailable),
        (kafka_errors.SaslAuthenticationFailedError("who"), LogUnavailable),
        (kafka_errors.UnknownTopicOrPartitionError("t"), NotFound),
        (kafka_errors.MessageSizeTooLargeError("big"), ConfigError),
        (kafka_errors.UnsupportedVersionError("old"), ConfigError),
        (kafka_errors.KafkaConfigurationError("odd"), ConfigError),
        (kafka_errors.CorruptRecordError("bit"), CorruptEvent),
    ],
)
def test_every_failure_is_one_of_our_errors(error, expected):
    mapped = as_tidelog_error(error, "read", CONFIG, "tidelog.bank")
    assert type(mapped) is expected
    assert "hush" not in str(mapped) + mapped.hint


def test_who_cannot_connect_is_told_where_and_why_and_what_to_look_at():
    """Not by the number of a bootstrap server, which kafka-python shuffles."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens there
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(LogUnavailable) as raised:
            open_producer(Config(kafka={"bootstrap_servers": [address], "connect_timeout": "500ms"}))
    told = raised.value
    assert str(told).startswith(f"Kafka at {address} does not answer (connect): ") and "ECONNREFUSED" in str(told)
    assert str(told).count(address) == 1 and "bootstrap-" not in str(told) + told.hint
    assert "bootstrap_servers" in told.hint and "tidelog config show" in told.hint


def test_retried_repeats_what_passes_and_nothing_else():
    tries = []

    def passes():
        tries.append(1)
        if len(tries) < 3:
            raise kafka_errors.NodeNotReadyError("soon")
        return "done"

    assert retried(passes, 5) == "done"
    with pytest.raises(kafka_errors.TopicAlreadyExistsError):
        retried(lambda: (_ for _ in ()).throw(kafka_errors.TopicAlreadyExistsError("t")), 5)
    with pytest.raises(kafka_errors.NodeNotReadyError):
        retried(lambda: (_ for _ in ()).throw(kafka_errors.NodeNotReadyError("never")), 0.2)


def test_kafka_python_writes_nothing_on_a_terminal():
    program = (
        "from tidelog.config import Config\n"
        "from tidelog.errors import LogUnavailable\n"
        "from tidelog.producers.kafka_log import KafkaLog\n"
        "try: KafkaLog(Config(kafka={'bootstrap_servers': '127.0.0.1:1', 'connect_timeout': 0.3}), 'x').bounds()\n"
        "except LogUnavailable: print('unavailable')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr, done.returncode) == ("unavailable\n", "", 0)
