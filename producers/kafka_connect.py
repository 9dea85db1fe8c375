"""Whether Kafka Connect runs into a cluster, as MirrorMaker does: by its group of workers there."""

from tidelog.config import Config
from tidelog.producers.kafka_clients import close_quietly, open_admin, retried, translated

_PROTOCOL = "connect"
_AT_REST = ("Empty", "Dead")  # of a group that has no members


def connect_groups(config: Config) -> list[str]:
    """The groups of Kafka Connect that have members. One that was killed stays for its session's timeout, some 10 s.
    Raises `LogUnavailable`."""
    admin = open_admin(config)
    try:
        with translated("list the groups of consumers", config):
            groups = retried(admin.list_groups, config.kafka.request_timeout)
    finally:
        close_quietly(admin)
    alive = (one for one in groups if one["protocol_type"] == _PROTOCOL and one.get("group_state") not in _AT_REST)
    return sorted(str(one["group_id"]) for one in alive)
