"""Options of kafka-python that a configuration may pass through, and those that it may not, with the reason."""

from difflib import get_close_matches
from functools import cache
from typing import Any, Literal

Client = Literal["producer", "consumer", "admin"]

_SENDS = "a write that was confirmed must be in the log once and in order"
_BATCHES = "tidelog batches writes itself ([writer] batch_bytes and linger): one batch is one record"
_FETCHES = "tidelog bounds what is in flight itself ([worker] fetch_bytes and queue_bytes)"
_OFFSETS = "a site's position lives in its store; a log that lost records means a rebuild, never a skip"
_MEMBERS = "[worker] has these settings"

# Why each pinned option is: `tidelog.producers.kafka_clients` sets them.
PINNED: dict[str, str] = {
    "acks": _SENDS,
    "enable_idempotence": _SENDS,
    "retries": _SENDS,
    "delivery_timeout_ms": f"{_SENDS}; [writer] write_timeout bounds the wait",
    "max_in_flight_requests_per_connection": _SENDS,
    "transactional_id": "a Kafka transaction costs 5 ms a batch; the chain of events fences instead",
    "transaction_timeout_ms": "tidelog uses no Kafka transactions",
    "linger_ms": _BATCHES,
    "batch_size": _BATCHES,
    "max_request_size": _BATCHES,
    "max_block_ms": "[kafka] request_timeout bounds it",
    "enable_auto_commit": _OFFSETS,
    "auto_commit_interval_ms": _OFFSETS,
    "auto_offset_reset": _OFFSETS,
    "isolation_level": "records of an aborted transaction are not part of a log",
    "check_crcs": "a flipped bit must be seen where it happened",
    "allow_auto_create_topics": "a topic made by accident breaks the rules of a log",
    "fetch_max_bytes": _FETCHES,
    "max_partition_fetch_bytes": _FETCHES,
    "fetch_min_bytes": _FETCHES,
    "fetch_max_wait_ms": _FETCHES,
    "max_poll_records": "a poll must return a whole fetch, or nothing is fetched meanwhile",
    "consumer_timeout_ms": _FETCHES,
    "receive_message_max_bytes": _FETCHES,
    "group_id": _MEMBERS,
    "group_instance_id": _MEMBERS,
    "session_timeout_ms": _MEMBERS,
    "heartbeat_interval_ms": _MEMBERS,
    "max_poll_interval_ms": _MEMBERS,
    "partition_assignment_strategy": "each log has one partition, and only round robin shares groups among workers",
}

# Typed settings of [kafka] itself.
_TYPED = {
    "bootstrap_servers",
    "client_id",
    "security_protocol",
    "sasl_mechanism",
    "sasl_plain_username",
    "sasl_plain_password",
    "ssl_cafile",
    "ssl_certfile",
    "ssl_keyfile",
    "ssl_password",
    "ssl_check_hostname",
    "proxy_url",
    "socks5_proxy",
    "request_timeout_ms",
    "bootstrap_timeout_ms",
}
_RENAMED = {
    "socks5_proxy": "proxy_url",
    "request_timeout_ms": "request_timeout",
    "bootstrap_timeout_ms": "connect_timeout",
}

# Default values that are no scalars: Python objects, which no file can hold.
_SCALARS = (str, int, float, bool, type(None))
_OBJECTS = {"ssl_context", "sasl_oauth_token_provider", "sasl_kerberos_name", "api_version"} | {
    f"{part}_{kind}" for part in ("key", "value") for kind in ("serializer", "deserializer")
}


@cache
def defaults(client: Client) -> dict[str, Any]:
    """kafka-python's options for this client, with their defaults."""
    # Imported late: a configuration without pass-through tables needs no Kafka.
    from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer

    classes: dict[Client, Any] = {"producer": KafkaProducer, "consumer": KafkaConsumer, "admin": KafkaAdminClient}
    return dict(classes[client].DEFAULT_CONFIG)


def flatten(table: dict[str, Any], before: str = "") -> dict[str, Any]:
    """``linger.ms``, which TOML reads as a table in a table, and ``"linger.ms"`` both become ``linger_ms``."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        name = before + key.replace(".", "_")
        if isinstance(value, dict):
            flat |= flatten(value, f"{name}_")
        else:
            flat[name] = value
    return flat


def checked(client: Client, table: dict[str, Any]) -> dict[str, Any]:
    """The options as kafka-python takes them. Raises ValueError: unknown, pinned, belongs elsewhere, wrong type."""
    return {name: _checked(client, name, value) for name, value in flatten(table).items()}


def _checked(client: Client, name: str, value: Any) -> Any:
    known = defaults(client)
    if name in PINNED:
        raise ValueError(f"{name} is pinned by tidelog: {PINNED[name]}")
    if name in _TYPED:
        raise ValueError(f"{name} belongs to all clients: set kafka.{_RENAMED.get(name, name)}")
    if name not in known:
        near = get_close_matches(name, set(known) - set(PINNED), n=1)
        raise ValueError(
            f"kafka-python's {client} has no option {name}" + (f"; did you mean {near[0]}?" if near else "")
        )
    default = known[name]
    if name in _OBJECTS or not isinstance(default, _SCALARS):
        raise ValueError(f"{name} takes a Python object, which a configuration cannot hold")
    return _typed(name, default, value)


def _typed(name: str, default: Any, value: Any) -> Any:
    if isinstance(default, bool):
        words = {"true": True, "false": False, "1": True, "0": False}
        known = value if isinstance(value, bool) else words.get(str(value).lower())
        if known is None:
            raise ValueError(f"{name} is true or false, not {value!r}")
        return known
    if isinstance(default, int | float):
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError(f"{name} is a number, not {value!r}")
        try:
            number = float(value)
        except ValueError:
            raise ValueError(f"{name} is a number, not {value!r}") from None
        return int(number) if number.is_integer() else number
    if isinstance(default, str) and not isinstance(value, str):
        raise ValueError(f"{name} is a text, not {value!r}")
    if default is None and isinstance(value, str) and value.isdecimal():
        return int(value)  # buffer sizes, whose default is the system's
    return value
