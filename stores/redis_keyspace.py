"""Redis behind the `Keyspace` protocol: transactions packed by hand, replies parsed by hiredis.

redis-py makes the connection (TLS, unix sockets, users, credential providers); past that its cost per command and per
reply would be most of the time of a small write, so the bytes on the wire are made and read here.
"""

import threading
import time
from collections.abc import Sequence
from typing import Any, cast

import hiredis
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tidelog.errors import StoreUnavailable
from tidelog.stores.keyspace import CommandError, PositionMoved, Reply, check_results, refused
from tidelog.stores.wire import Command, count, pack

_OK = b"+OK\r\n"
_QUEUED = b"+QUEUED\r\n"
_MULTI = b"*1\r\n$5\r\nMULTI\r\n"
_EXEC = b"*1\r\n$4\r\nEXEC\r\n"
_RECEIVE_BYTES = 1 << 18
# The longest that a transaction may take a healthy Redis; only where the caller's settings name no timeout.
DEFAULT_TIMEOUT_SECONDS = 30.0
# A firewall may drop a connection that was idle for so long, and tell neither side.
FORGOTTEN_AFTER_SECONDS = 60.0
_SCAN_COUNT = b"1000"


class RedisKeyspace:
    """A `Keyspace` on the Redis that ``pool`` describes; the pool's own connections are not used."""

    def __init__(self, pool: redis.ConnectionPool) -> None:
        self._connection_class = pool.connection_class
        self._settings: dict[str, Any] = {
            **pool.connection_kwargs,
            "protocol": 2,  # no push messages between the replies that `_Link` counts
            "decode_responses": False,
            "health_check_interval": 0,
            "retry": Retry(NoBackoff(), 0),  # a reconnect that nobody sees would lose the WATCH
        }
        if self._settings.get("socket_timeout") is None:
            self._settings["socket_timeout"] = DEFAULT_TIMEOUT_SECONDS
        self._idle: list[_Link] = []
        self._lock = threading.Lock()

    @classmethod
    def from_url(cls, url: str, **settings: Any) -> "RedisKeyspace":
        """``redis://``, ``rediss://`` or ``unix://``; ``settings`` are redis-py's connection settings."""
        return cls(redis.ConnectionPool.from_url(url, **settings))

    def transact(self, commands: Sequence[Command]) -> list[Reply]:
        replies = self._call(b"".join((_MULTI, *pack(commands), _EXEC)), count(commands) + 2)
        results = replies[-1]
        if isinstance(results, CommandError):
            raise _refusal(replies)
        check_results(commands, results)
        return cast("list[Reply]", results)

    def session(self, key: bytes) -> "RedisSession":
        return RedisSession(self._connect(), key)

    def scan(self, cursor: int, prefix: bytes) -> tuple[int, list[bytes]]:
        command = (b"SCAN", b"%d" % cursor, b"MATCH", prefix + b"*", b"COUNT", _SCAN_COUNT)
        (reply,) = self._call(b"".join(pack([command])), 1)
        if isinstance(reply, CommandError):
            raise refused(str(reply))
        following, keys = cast("tuple[bytes, list[bytes]]", reply)
        return int(following), keys

    def eviction_policy(self) -> str:
        (reply,) = self._call(b"".join(pack([(b"CONFIG", b"GET", b"maxmemory-policy")])), 1)
        if isinstance(reply, list) and len(reply) == 2:
            return cast("bytes", reply[1]).decode()
        # CONFIG is often forbidden to users, and on hosted servers to everyone; INFO says the same.
        (reply,) = self._call(b"".join(pack([(b"INFO", b"memory")])), 1)
        if isinstance(reply, bytes):
            for line in reply.decode().splitlines():
                if line.startswith("maxmemory_policy:"):
                    return line.partition(":")[2]
        raise refused(str(reply))

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for link in idle:
            link.close()

    def _connect(self) -> "_Link":
        return _Link(self._connection_class(**self._settings))

    def _call(self, payload: bytes, count: int) -> list[Any]:
        """Sends ``payload`` and returns its ``count`` replies, on an idle connection if there is one.

        A connection that the server closed while idle is replaced once: whatever is sent here may be done twice. One
        that gives no answer in time is replaced if a firewall may have forgotten it; else it is the server that gives
        none, and another connection would be waited for as long.
        """
        with self._lock:
            link = self._idle.pop() if self._idle else None
        if link is not None:
            forgotten = time.monotonic() - link.answered > FORGOTTEN_AFTER_SECONDS
            try:
                replies = link.call(payload, count)
            except StoreUnavailable as error:
                if isinstance(error.__cause__, TimeoutError) and not forgotten:
                    raise
            else:
                self._release(link)
                return replies
        link = self._connect()
        replies = link.call(payload, count)
        self._release(link)
        return replies

    def _release(self, link: "_Link") -> None:
        link.answered = time.monotonic()
        with self._lock:
            self._idle.append(link)


class RedisSession:
    """A `Session` on a Redis connection of its own."""

    def __init__(self, link: "_Link", key: bytes) -> None:
        self._link = link
        self._watch = b"".join(pack([(b"WATCH", key), (b"GET", key)]))
        self._commands: Sequence[Command] = ()

    def begin(self) -> bytes | None:
        replies = self._link.call(self._watch, 2)
        return self._value(replies)

    def submit(self, commands: Sequence[Command]) -> None:
        self._commands = commands
        # One write: with the WATCH and GET behind EXEC a transaction costs one round trip, not three.
        self._link.send(b"".join((_MULTI, *pack(commands), _EXEC, self._watch)))

    def settle(self) -> bytes | None:
        commands, self._commands = self._commands, ()
        expected = _OK + _QUEUED * count(commands)
        if self._link.skip(expected):
            result, *rest = self._link.receive(3)
        else:
            queued = self._link.receive(count(commands) + 1)
            result, *rest = self._link.receive(3)
            if isinstance(result, CommandError):
                self._link.close()
                raise _refusal([*queued, result])
        if result is None:
            raise PositionMoved("another worker or command changed the position")
        # Thousands of results are judged at the speed of C; only errors are looked at one by one.
        if isinstance(result, CommandError) or CommandError in set(map(type, result)):
            try:
                check_results(commands, result)
            except Exception:
                self._link.close()
                raise
        return self._value(rest)

    def close(self) -> None:
        self._link.close()

    def _value(self, replies: list[Any]) -> bytes | None:
        for reply in replies:
            if isinstance(reply, CommandError):
                self._link.close()
                raise refused(str(reply))
        return cast("bytes | None", replies[1])


class _Link:
    """One connection. Any failure closes it for good; nothing is ever sent again."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.answered = 0.0  # when it was last put aside, by the monotonic clock
        self._reader = hiredis.Reader(replyError=CommandError, protocolError=CommandError, notEnoughData=_MORE)
        self._buffer = bytearray(_RECEIVE_BYTES)
        self._view = memoryview(self._buffer)
        try:
            connection.connect()
            # The socket itself: redis-py's own reading would build one Python reply for each of thousands of +QUEUED.
            self._socket = connection._get_socket()
        except (redis.RedisError, OSError) as error:
            raise _unavailable(error) from error
        if self._socket is None:
            raise StoreUnavailable("Redis closed the connection")

    def call(self, payload: bytes, count: int) -> list[Any]:
        self.send(payload)
        return self.receive(count)

    def send(self, payload: bytes) -> None:
        if self._socket is None:
            raise StoreUnavailable("the connection to Redis was lost")
        try:
            self._socket.sendall(payload)
        except OSError as error:
            self.close()
            raise _unavailable(error) from error

    def receive(self, count: int) -> list[Any]:
        """The next ``count`` replies; errors among them as `CommandError`."""
        replies: list[Any] = []
        while len(replies) < count:
            reply = self._reader.gets()
            if reply is _MORE:
                self._reader.feed(cast("bytes", self._some()))
            else:
                replies.append(reply)
        return replies

    def skip(self, expected: bytes) -> bool:
        """Reads past ``expected`` if that is what comes next; else leaves what came to `receive`."""
        received = bytearray()
        while len(received) < len(expected):
            received += self._some()
            if not expected.startswith(received[: len(expected)]):
                self._reader.feed(bytes(received))
                return False
        if len(received) > len(expected):
            self._reader.feed(bytes(received[len(expected) :]))
        return True

    def close(self) -> None:
        self._socket = None
        self._connection.disconnect()

    def _some(self) -> memoryview:
        if self._socket is None:
            raise StoreUnavailable("the connection to Redis was lost")
        try:
            count = self._socket.recv_into(self._buffer)
        except OSError as error:
            self.close()
            raise _unavailable(error) from error
        if not count:
            self.close()
            raise StoreUnavailable("Redis closed the connection", hint="was it restarted? see its log")
        return self._view[:count]


_MORE = object()


def _refusal(replies: list[Any]) -> StoreUnavailable:
    """The reason why a transaction was not run: the first error among the replies, not EXECABORT behind it."""
    return refused(next(str(reply) for reply in replies if isinstance(reply, CommandError)))


def _unavailable(error: Exception) -> StoreUnavailable:
    if isinstance(error, TimeoutError | redis.TimeoutError):
        return StoreUnavailable("Redis does not answer in time", hint="is it overloaded, or stopped?")
    if isinstance(error, redis.AuthenticationError):
        return StoreUnavailable(
            f"Redis refuses: {error}", hint="check user name and password in the site's redis settings"
        )
    if isinstance(error, redis.ResponseError):
        return refused(str(error))
    return StoreUnavailable(f"Redis cannot be reached: {error}", hint="is it running, and is the URL right?")
