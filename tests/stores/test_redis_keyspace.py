"""What only a real Redis does: refuse, run out of memory, die in the middle."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from tidelog.errors import StoreUnavailable, WrongStore
from tidelog.stores.image import Store
from tidelog.stores.redis_keyspace import FORGOTTEN_AFTER_SECONDS, RedisKeyspace
from tidelog.stores.store import Identity
from tidelog.testing.processes import RedisServer

pytestmark = pytest.mark.servers
KEY = b"tidelog:{t}:position"
IDENTITY = Identity("t", "group-id", "tokyo")


def test_a_wrong_password_says_so() -> None:
    """Neither a missing nor a wrong password hangs or shows a traceback of redis-py."""
    with RedisServer(password="secret") as server:
        RedisKeyspace.from_url(server.unix_url).transact([(b"GET", KEY)])
        for password in ("wrong", None):
            url = server.unix_url.replace(":secret@", f":{password}@" if password else "")
            keyspace = RedisKeyspace.from_url(url)
            with pytest.raises(StoreUnavailable) as caught:
                keyspace.transact([(b"GET", KEY)])
            assert "password" in caught.value.hint
            with pytest.raises(StoreUnavailable):
                keyspace.session(KEY).begin()


def test_a_user_without_a_permission_is_told_which(redis_url: str) -> None:
    """A command that the ACL forbids aborts the whole transaction; CONFIG may be forbidden."""
    with redis.Redis.from_url(redis_url) as client:
        client.execute_command("ACL", "SETUSER", "site", "on", ">pw", "~*", "+@all", "-config", "-setrange")
    keyspace = RedisKeyspace.from_url(redis_url, username="site", password="pw")
    assert keyspace.eviction_policy() == "noeviction"
    session = keyspace.session(KEY)
    session.begin()
    session.submit([(b"SET", b"a", b"1"), (b"SETRANGE", b"b", b"0", b"x"), (b"SET", KEY, b"p")])
    with pytest.raises(StoreUnavailable, match="NOPERM") as caught:
        session.settle()
    assert "permission" in caught.value.hint
    assert keyspace.transact([(b"MGET", b"a", KEY)]) == [[None, None]]
    with pytest.raises(StoreUnavailable):
        session.begin()


def test_out_of_memory_applies_nothing(redis_url: str) -> None:
    """Redis refuses the command when it is queued, so EXEC does nothing at all."""
    keyspace = RedisKeyspace.from_url(redis_url)
    with redis.Redis.from_url(redis_url) as client:
        session = keyspace.session(KEY)
        session.begin()
        client.config_set("maxmemory", 1)
        try:
            session.submit([(b"DEL", b"x"), (b"SET", b"a", b"1"), (b"SET", KEY, b"p")])
            with pytest.raises(StoreUnavailable, match="OOM") as caught:
                session.settle()
        finally:
            client.config_set("maxmemory", 0)
    assert "maxmemory" in caught.value.hint
    assert keyspace.transact([(b"MGET", b"a", KEY)]) == [[None, None]]


def test_an_evicting_server_is_refused(redis_url: str) -> None:
    """A store must not lose keys, whoever sets the policy."""
    keyspace = RedisKeyspace.from_url(redis_url)
    with redis.Redis.from_url(redis_url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        try:
            with pytest.raises(WrongStore, match="allkeys-lru"):
                Store.create(keyspace, IDENTITY)
        finally:
            client.config_set("maxmemory-policy", "noeviction")
    Store.create(keyspace, IDENTITY)


def test_a_server_that_is_not_there() -> None:
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        RedisKeyspace.from_url("redis://127.0.0.1:1").transact([(b"GET", KEY)])


def test_a_server_that_does_not_answer_in_time() -> None:
    """A stopped Redis ends a wait at the caller's timeout."""
    with RedisServer() as server:
        keyspace = RedisKeyspace.from_url(server.unix_url, socket_timeout=0.2)
        session = keyspace.session(KEY)
        session.begin()
        server.pause()
        try:
            session.submit([(b"SET", KEY, b"p")])
            with pytest.raises(StoreUnavailable, match="in time"):
                session.settle()
            with pytest.raises(StoreUnavailable, match="in time"):
                keyspace.transact([(b"GET", KEY)])
        finally:
            server.resume()


@pytest.mark.parametrize("idle_seconds", [0.0, 2 * FORGOTTEN_AFTER_SECONDS])
def test_a_server_that_hangs_is_waited_for_once(idle_seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another connection would hang as long; it is tried where a firewall may have forgotten the idle one."""
    with RedisServer() as server:
        keyspace = RedisKeyspace.from_url(server.unix_url, socket_timeout=0.2)
        keyspace.transact([(b"GET", KEY)])
        connect, made = keyspace._connect, []
        monkeypatch.setattr(keyspace, "_connect", lambda: made.append(KEY) or connect())
        keyspace._idle[0].answered -= idle_seconds
        server.pause()
        try:
            with pytest.raises(StoreUnavailable, match="in time"):
                keyspace.transact([(b"GET", KEY)])
        finally:
            server.resume()
        assert bool(made) is bool(idle_seconds)
        keyspace.transact([(b"GET", KEY)])
        assert made


def test_a_killed_server_ends_sessions_and_reads_go_on_when_it_is_back(tmp_path: Path) -> None:
    """A session never reconnects; a read takes a new connection when its idle one has died."""
    with RedisServer(data_dir=tmp_path / "data", appendonly="always") as server:
        keyspace = RedisKeyspace.from_url(server.url)
        session = keyspace.session(KEY)
        session.begin()
        session.submit([(b"SET", KEY, b"p")])
        session.settle()
        server.kill()
        with pytest.raises(StoreUnavailable):
            keyspace.transact([(b"GET", KEY)])
        server.start()
        assert keyspace.transact([(b"GET", KEY)]) == [b"p"]
        with pytest.raises(StoreUnavailable):
            _apply(session.submit, session.settle)
        with pytest.raises(StoreUnavailable):
            session.begin()


def _apply(submit: Callable[..., None], settle: Callable[[], object]) -> None:
    submit([(b"SET", KEY, b"q")])
    settle()


def test_idle_connections_that_the_server_closed_are_replaced(redis_url: str) -> None:
    keyspace = RedisKeyspace.from_url(redis_url)
    assert keyspace.transact([(b"GET", KEY)]) == [None]
    with redis.Redis.from_url(redis_url) as client:
        client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    assert keyspace.transact([(b"GET", KEY)]) == [None]


def test_settings_for_text_do_no_harm(redis_url: str) -> None:
    """A caller's pool may decode replies or speak RESP3; the store's connections do not."""
    pool = redis.ConnectionPool.from_url(redis_url, decode_responses=True, protocol=3)
    keyspace = RedisKeyspace(pool)
    keyspace.transact([(b"SET", b"a", b"\xff"), (b"HSET", b"h", b"f", b"\xfe")])
    assert keyspace.transact([(b"GET", b"a"), (b"HGETALL", b"h")]) == [b"\xff", [b"f", b"\xfe"]]
    session = keyspace.session(KEY)
    assert session.begin() is None
    session.submit([(b"SET", KEY, b"p")])
    assert session.settle() == b"p"


def test_many_threads_share_a_keyspace(redis_url: str) -> None:
    keyspace = RedisKeyspace.from_url(redis_url)
    wrong: list[object] = []

    def work(number: int) -> None:
        key = b"k%d" % number
        for count in range(200):
            keyspace.transact([(b"SET", key, b"%d" % count)])
            if keyspace.transact([(b"GET", key)]) != [b"%d" % count]:
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
