"""A server that may evict keys is no place for a store."""

from tidelog.errors import WrongStore
from tidelog.stores.keyspace import Keyspace
from tidelog.stores.store import Identity


def check_policy(keyspace: Keyspace, identity: Identity) -> None:
    """Raises `WrongStore` unless the server keeps all keys."""
    policy = keyspace.eviction_policy()
    if policy != "noeviction":
        raise WrongStore(
            f"Redis has maxmemory-policy {policy}: it may evict keys, and a store must not lose any",
            hint="set maxmemory-policy noeviction in the Redis configuration",
            group=identity.group,
        )
