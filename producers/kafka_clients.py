"""kafka-python's clients as tidelog needs them: pinned settings, one way to open and close, errors of our own.

Why each setting is pinned is said in `tidelog.kafka_options`; a user who sets one is told so.
"""

import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka import errors as kafka_errors
from kafka.net.compat import KafkaNetClient

from tidelog.config import Config, KafkaConfig
from tidelog.errors import ConfigError, CorruptEvent, LogUnavailable, NotFound, TidelogError
from tidelog.producers import at_exit
from tidelog.schemas.codec import MAX_MESSAGE_SIZE

Opened = TypeVar("Opened")

# A record batch and a request add their headers to a message.
REQUEST_SIZE = MAX_MESSAGE_SIZE + 64 * 1024
# kafka-python's idempotent producer has one request a partition under way; what is sent meanwhile gathers in the next
# record batch. Client CPU a 256 KiB record, 2 busy cores: 1360 us with one record a batch (16 KiB), 750 at 1 MiB, 475
# at 2 MiB, 460 at 4 MiB. Reading costs the same up to 2 MiB and half as much again at 4 MiB.
RECORD_BATCH_SIZE = 2 * 1024 * 1024
RECEIVE_SIZE = 256 * 1024 * 1024
LONGEST_MS = 2**31 - 1
# How long a send may wait for metadata: only when the topic is gone, since opening fetches them.
MAX_BLOCK_MS = 1000
RETRY_PAUSE = 0.1
# How long after one look at the cluster kafka-python looks for it again. It lets 100 ms pass (3.0.12, whatever
# `retry_backoff_ms` says), and connecting is such a look: whatever a new client asked first would wait for that.
LOOK_AGAIN_MS = 20
CLOSE_TIMEOUT = 1.0


def connection_options(config: KafkaConfig) -> dict[str, Any]:
    """What all clients share: where Kafka is, and how to be let in."""
    secrets = {"sasl_plain_password": config.sasl_plain_password, "ssl_password": config.ssl_password}
    files = {"ssl_cafile": config.ssl_cafile, "ssl_certfile": config.ssl_certfile, "ssl_keyfile": config.ssl_keyfile}
    request_timeout_ms = int(config.request_timeout * 1000)
    options: dict[str, Any] = {
        "bootstrap_servers": list(config.bootstrap_servers),
        "client_id": config.client_id,
        "security_protocol": config.security_protocol,
        "sasl_mechanism": config.sasl_mechanism,
        "sasl_plain_username": config.sasl_plain_username,
        "ssl_check_hostname": config.ssl_check_hostname,
        "proxy_url": config.proxy_url.get_secret_value() if config.proxy_url else None,
        "request_timeout_ms": request_timeout_ms,
        "connections_max_idle_ms": max(9 * 60_000, 2 * request_timeout_ms),
        "bootstrap_timeout_ms": int(config.connect_timeout * 1000),
        # A broker that is back is found again within a second, not half a minute.
        "reconnect_backoff_max_ms": 1000,
    }
    options |= {name: secret.get_secret_value() for name, secret in secrets.items() if secret}
    options |= {name: str(path) for name, path in files.items() if path}
    return options


def producer_options(config: Config) -> dict[str, Any]:
    """Arguments for ``KafkaProducer``: no record twice, none out of order, none dropped by a client's own timeout."""
    options = connection_options(config.kafka) | config.kafka.producer
    return options | {
        "acks": "all",
        "enable_idempotence": True,
        "retries": LONGEST_MS,
        "delivery_timeout_ms": LONGEST_MS,
        "max_in_flight_requests_per_connection": 5,
        "linger_ms": 0,
        "batch_size": RECORD_BATCH_SIZE,
        "max_request_size": REQUEST_SIZE,
        "max_block_ms": MAX_BLOCK_MS,
        "allow_auto_create_topics": False,
        "metrics_enabled": False,
    }


def consumer_options(config: Config) -> dict[str, Any]:
    """Arguments for ``KafkaConsumer``: nothing skipped, nothing unchecked, a whole fetch from each poll."""
    options = connection_options(config.kafka) | config.kafka.consumer
    return options | {
        "group_id": None,
        "enable_auto_commit": False,
        "auto_offset_reset": "none",
        "isolation_level": "read_committed",
        "check_crcs": True,
        "allow_auto_create_topics": False,
        "fetch_min_bytes": 1,
        "fetch_max_wait_ms": 500,
        "fetch_max_bytes": config.worker.fetch_bytes,
        "max_partition_fetch_bytes": config.worker.fetch_bytes,
        "receive_message_max_bytes": RECEIVE_SIZE,
        "max_poll_records": LONGEST_MS,
        "metrics_enabled": False,
    }


def admin_options(config: Config) -> dict[str, Any]:
    """Arguments for ``KafkaAdminClient``."""
    return connection_options(config.kafka) | config.kafka.admin


def open_producer(config: Config) -> Any:
    """A ``KafkaProducer``. Raises `ConfigError`, `LogUnavailable`."""
    producer = _open(KafkaProducer, producer_options(config), config)
    at_exit.goes_first()  # kafka-python closes it at exit, and throws away what a session would still send
    return producer


def open_consumer(config: Config, **overrides: Any) -> Any:
    """A ``KafkaConsumer``. Raises `ConfigError`, `LogUnavailable`."""
    return _open(KafkaConsumer, consumer_options(config) | overrides, config)


def open_admin(config: Config) -> Any:
    """A ``KafkaAdminClient``. Raises `ConfigError`, `LogUnavailable`."""
    return _open(KafkaAdminClient, admin_options(config), config)


def _open(client: Callable[..., Opened], options: dict[str, Any], config: Config) -> Opened:
    require_crc32c()
    networks: list[Any] = []

    def network(**settings: Any) -> Any:
        networks.append(KafkaNetClient(**settings))
        return networks[-1]

    try:
        with translated("connect", config):
            opened = client(**options, kafka_client=network)
        networks[-1].cluster.config["retry_backoff_ms"] = LOOK_AGAIN_MS
        return opened
    except BaseException as error:
        # A constructor that fails leaves its I/O thread running.
        for made in networks:
            made.close()
        if isinstance(error, OSError | TypeError | ValueError | AssertionError):
            raise ConfigError(f"kafka-python refuses the settings under [kafka]: {error}") from error
        raise


def require_crc32c() -> None:
    """Raises `ConfigError` unless kafka-python has the C implementation: its own one runs at 7 MB/s."""
    try:
        import crc32c  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"kafka-python cannot use the package crc32c: {error}",
            hint="pip install 'kafka-python[crc32c]'; without it each record costs 40 times as much",
        ) from None


# Warnings that only say that there is no connection, not why.
_SAYS_NOTHING = re.compile("Bootstrap failed|not ready; waiting|No node available|Closing|Cancelled")

# Of a bootstrap server, whose number says nothing: the servers are shuffled.
_WITHOUT_CONNECTION = re.compile(r"Bootstrap connection to \S+ failed: (.+?)(?: \(backoff [\d.]+ secs\))?")
IS_KAFKA_THERE = (
    "is it running there, and are bootstrap_servers and security_protocol under [kafka] right?"
    " where they are set: tidelog config show"
)


class _Complaints(logging.Handler):
    """Keeps kafka-python's last warning, which often is the only place that says why it cannot connect. Being a handler
    it also keeps these warnings off the terminal of a program that has not set up logging."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._last = ("", 0.0)

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if not _SAYS_NOTHING.search(message):
            self._last = (message, time.monotonic())

    def since(self, moment: float) -> str:
        """The last complaint if it is younger than ``moment``."""
        message, at = self._last
        return message if at >= moment else ""


_complaints = _Complaints()
logging.getLogger("kafka").addHandler(_complaints)

_REFUSED = (
    kafka_errors.AuthorizationError,
    kafka_errors.SaslAuthenticationFailedError,
    kafka_errors.UnsupportedSaslMechanismError,
    kafka_errors.IllegalSaslStateError,
)
_TOO_LARGE = (kafka_errors.MessageSizeTooLargeError, kafka_errors.RecordListTooLargeError)
_TOO_OLD = (kafka_errors.UnsupportedVersionError, kafka_errors.UnrecognizedBrokerVersion)


def as_tidelog_error(
    error: BaseException, doing: str, config: Config, topic: str = "", since: float = 0
) -> TidelogError:
    """What ``error`` of kafka-python means to us. ``doing`` completes "Kafka ... did not ..."."""
    servers = ", ".join(config.kafka.bootstrap_servers)
    about = f"{doing} {topic}".strip()
    if isinstance(error, TidelogError):
        return error
    if isinstance(error, _REFUSED) or "AuthorizationFailedError" in str(error):  # a producer tells it as text
        hint = (
            "check user, password and mechanism under [kafka], and the user's ACLs:"
            " `tidelog group create NAME --print-acls` says which are needed"
        )
        return LogUnavailable(f"Kafka at {servers} refuses us ({about}): {error}", hint=hint)
    if isinstance(error, _TOO_LARGE):
        hint = f"raise max.message.bytes of the topic to at least {REQUEST_SIZE}"
        return ConfigError(f"a message is larger than Kafka takes on {topic} (max.message.bytes)", hint=hint)
    if isinstance(error, kafka_errors.UnknownTopicOrPartitionError | kafka_errors.InvalidTopicError):
        return NotFound(f"there is no topic {topic} at {servers}", hint="`tidelog group create` makes it")
    if isinstance(error, kafka_errors.CorruptRecordError):
        return CorruptEvent(f"{topic}: {error}", hint="a broker's disk or the network flips bits")
    if isinstance(error, _TOO_OLD):
        return ConfigError(f"Kafka at {servers} is too old: {error}", hint="tidelog needs Kafka 2.5 or later")
    if isinstance(error, kafka_errors.KafkaConfigurationError):
        return ConfigError(f"kafka-python refuses the settings under [kafka]: {error}")
    said = _complaints.since(since)
    told = _WITHOUT_CONNECTION.fullmatch(said)
    if told is not None:  # which is all there is: what is raised names the addresses alone
        return LogUnavailable(f"Kafka at {servers} does not answer ({about}): {told[1]}", hint=IS_KAFKA_THERE)
    hint = f"kafka-python's last words: {said}" if said else IS_KAFKA_THERE
    return LogUnavailable(f"Kafka at {servers} does not answer ({about}): {error}", hint=hint)


@contextmanager
def translated(doing: str, config: Config, topic: str = "") -> Iterator[None]:
    """Turns kafka-python's errors into ours."""
    since = time.monotonic()
    try:
        yield
    except (kafka_errors.KafkaError, RuntimeError) as error:  # RuntimeError: closed by another thread
        raise as_tidelog_error(error, doing, config, topic, since) from error


def retried(action: Callable[[], Opened], timeout: float) -> Opened:
    """The result of ``action``, tried again while its error is one that passes, for ``timeout`` seconds: kafka-python's
    admin client does not retry."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            return action()
        except kafka_errors.KafkaError as error:
            if not error.retriable or time.monotonic() >= deadline:
                raise
        threading.Event().wait(RETRY_PAUSE)


def close_quietly(client: Any) -> None:
    """Closes a client within a second or so, whatever state it is in; a producer without sending what is left."""
    try:
        if isinstance(client, KafkaConsumer):
            client.close(autocommit=False, timeout_ms=int(CLOSE_TIMEOUT * 1000))
        elif isinstance(client, KafkaProducer):
            # `KafkaProducer.close` waits, or raises and goes on, while something is unsent.
            client._sender.force_close()
            client._sender.join(CLOSE_TIMEOUT)
            if not client._sender.is_alive():
                client.close(timeout=0)
        else:
            client.close()
    except (kafka_errors.KafkaError, RuntimeError) as error:
        logging.getLogger(__name__).debug("closing a Kafka client: %s", error)
