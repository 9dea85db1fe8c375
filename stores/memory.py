"""The in-memory twin of Redis: a dict that understands exactly the commands that stores send.

It keeps Redis's rules about types, absent keys, errors inside EXEC and WATCH over many sessions, and adds what tests
need: rewinding data and position together, transactions that lose their connection before or after they took effect,
and a hook at each point where another client of a real Redis could come in between.
"""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeAlias, cast

from tidelog.clock import wall_us
from tidelog.errors import StoreUnavailable
from tidelog.stores.keyspace import CommandError, PositionMoved, Reply, check_results, refused
from tidelog.stores.wire import Command, unpack

Value: TypeAlias = bytes | dict[bytes, bytes]
_WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"


class MemoryKeyspace:
    """A `Keyspace` in this process. Thread-safe.

    ``between`` is called with ``exec`` before each transaction of a session, with ``watch`` between its EXEC and the
    WATCH behind it, with ``get`` between that and GET. ``out_of_memory`` refuses every transaction that writes.
    ``now_us`` is the clock that TIME tells.
    """

    def __init__(self, eviction_policy: str = "noeviction") -> None:
        self.data: dict[bytes, Value] = {}
        self.between: Callable[[str], None] = lambda _point: None
        self.now_us: Callable[[], int] = wall_us
        self.transactions = 0
        self.out_of_memory = False
        self._eviction_policy = eviction_policy
        self._changes: Counter[bytes] = Counter()
        self._lock = threading.RLock()
        self._sessions: list[MemorySession] = []
        self._fault: tuple[int, bool] | None = None
        self._cursors = [b""]  # the last key that the scan with that cursor returned

    def transact(self, commands: Sequence[Command]) -> list[Reply]:
        with self._lock:
            results = self._execute(commands)
        check_results(commands, results)
        return cast("list[Reply]", results)

    def session(self, key: bytes) -> "MemorySession":
        session = MemorySession(self, key)
        self._sessions.append(session)
        return session

    def scan(self, cursor: int, prefix: bytes) -> tuple[int, list[bytes]]:
        with self._lock:
            after = self._cursors[cursor]
            found = sorted(key for key in self.data if key.startswith(prefix) and key > after)
            if len(found) <= _SCAN_COUNT:
                return 0, found
            self._cursors.append(found[_SCAN_COUNT - 1])
            return len(self._cursors) - 1, found[:_SCAN_COUNT]

    def eviction_policy(self) -> str:
        return self._eviction_policy

    def close(self) -> None:
        """Nothing to end: the data stay for the next user, and sessions have owners of their own."""

    def snapshot(self) -> dict[bytes, Value]:
        """All data as of now, for `restore`."""
        with self._lock:
            return {key: dict(value) if isinstance(value, dict) else value for key, value in self.data.items()}

    def restore(self, snapshot: dict[bytes, Value], *, lose_connections: bool = True) -> None:
        """Rewinds data and position together, as a Redis that lost its tail does. By default sessions are cut off, as a
        restart does; otherwise they only find their watched key touched."""
        with self._lock:
            self._changes.update(self.data.keys() | snapshot.keys())
            self.data = {key: dict(value) if isinstance(value, dict) else value for key, value in snapshot.items()}
            if lose_connections:
                self.lose_connections()

    def lose_connections(self) -> None:
        """Cuts off every session."""
        while self._sessions:  # one by one: others may be opened meanwhile
            self._sessions.pop().lost = True

    def fail(self, nth: int, *, applied: bool) -> None:
        """The ``nth`` transaction of a session from now (1 is the next) loses its connection, after it took effect if
        ``applied``, else before."""
        self._fault = (self.transactions + nth, applied)

    def _execute(self, commands: Sequence[Command]) -> list[object]:
        single = unpack(commands)
        if self.out_of_memory and any(command[0] in _GROWING for command in single):
            raise refused("OOM command not allowed when used memory > 'maxmemory'")
        return [self._run(*command) for command in single]

    def _run(self, name: bytes, *arguments: bytes) -> object:
        try:
            return _COMMANDS[name](self, *arguments)
        except CommandError as error:
            return error

    def _set(self, key: bytes, value: Value) -> None:
        self.data[key] = value
        self._changes[key] += 1

    def _pop(self, key: bytes) -> Value | None:
        if key in self.data:
            self._changes[key] += 1
        return self.data.pop(key, None)

    def _string(self, key: bytes) -> bytes | None:
        value = self.data.get(key)
        if isinstance(value, dict):
            raise CommandError(_WRONG_TYPE)
        return value

    def _hash(self, key: bytes) -> dict[bytes, bytes]:
        value = self.data.get(key, {})
        if not isinstance(value, dict):
            raise CommandError(_WRONG_TYPE)
        return value

    def time(self) -> list[bytes]:
        """Seconds and microseconds, by ``now_us``."""
        return [b"%d" % part for part in divmod(self.now_us(), 1_000_000)]

    def get(self, key: bytes) -> bytes | None:
        return self._string(key)

    def set(self, key: bytes, value: bytes) -> bytes:
        self._set(key, value)
        return b"OK"

    def mget(self, *keys: bytes) -> list[bytes | None]:
        return [value if isinstance(value := self.data.get(key), bytes) else None for key in keys]

    def mset(self, *pairs: bytes) -> bytes:
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            self._set(key, value)
        return b"OK"

    def setrange(self, key: bytes, offset: bytes, value: bytes) -> int:
        before = self._string(key) or b""
        start = int(offset)
        if value:
            self._set(key, before[:start].ljust(start, b"\0") + value + before[start + len(value) :])
        return max(len(before), start + len(value) if value else 0)

    def getrange(self, key: bytes, start: bytes, end: bytes) -> bytes:
        return (self._string(key) or b"")[int(start) : int(end) + 1]

    def bitfield(self, key: bytes, *operations: bytes) -> list[int]:
        """``SET u8 #<byte> <value>``, any number of times."""
        value = bytearray(self._string(key) or b"")
        before = []
        for verb, kind, place, byte in zip(*[iter(operations)] * 4, strict=True):
            assert verb == b"SET" and kind == b"u8" and place[:1] == b"#", operations
            index = int(place[1:])
            value.extend(bytes(max(0, index + 1 - len(value))))
            before.append(value[index])
            value[index] = int(byte)
        self._set(key, bytes(value))
        return before

    def rename(self, source: bytes, target: bytes) -> bytes:
        if source not in self.data:
            raise CommandError("ERR no such key")
        value = self._pop(source)
        assert value is not None
        self._set(target, value)
        return b"OK"

    def copy(self, source: bytes, target: bytes, *options: bytes) -> int:
        value = self.data.get(source)
        if value is None or (target in self.data and b"REPLACE" not in options):
            return 0
        self._set(target, dict(value) if isinstance(value, dict) else value)
        return 1

    def delete(self, *keys: bytes) -> int:
        return sum(self._pop(key) is not None for key in keys)

    def hget(self, key: bytes, field: bytes) -> bytes | None:
        return self._hash(key).get(field)

    def hkeys(self, key: bytes) -> list[bytes]:
        return list(self._hash(key))

    def hgetall(self, key: bytes) -> list[bytes]:
        return [part for pair in self._hash(key).items() for part in pair]

    def hset(self, key: bytes, *pairs: bytes) -> int:
        fields = dict(self._hash(key))
        count = len(fields)
        fields.update(zip(pairs[::2], pairs[1::2], strict=True))
        self._set(key, fields)
        return len(fields) - count

    def hdel(self, key: bytes, *names: bytes) -> int:
        fields = dict(self._hash(key))
        count = sum(fields.pop(name, None) is not None for name in names)
        if count:
            if fields:
                self._set(key, fields)
            else:
                self._pop(key)
        return count


class MemorySession:
    """A `Session` of a `MemoryKeyspace`."""

    def __init__(self, keyspace: MemoryKeyspace, key: bytes) -> None:
        self._keyspace = keyspace
        self._key = key
        self._watched: int | None = None
        self._submitted: Sequence[Command] = ()
        self._outcome: list[object] | Exception | None = None
        self._value: bytes | None = None
        self.lost = False

    def begin(self) -> bytes | None:
        self._check()
        with self._keyspace._lock:
            self._watched = self._keyspace._changes[self._key]
            return self._keyspace._string(self._key)

    def submit(self, commands: Sequence[Command]) -> None:
        assert self._watched is not None, "submit without begin"
        assert self._outcome is None, "submit without settle"
        self._check()
        self._submitted = commands
        keyspace = self._keyspace
        keyspace.between("exec")
        with keyspace._lock:
            self._outcome = self._execute(commands)
        if not self.lost:
            keyspace.between("watch")
            self._watched = keyspace._changes[self._key]
            keyspace.between("get")
            self._value = keyspace._string(self._key)

    def _execute(self, commands: Sequence[Command]) -> "list[object] | Exception":
        keyspace = self._keyspace
        keyspace.transactions += 1
        fault, applied = keyspace._fault or (0, False)
        if fault == keyspace.transactions:
            keyspace._fault = None
            self.lost = True
            if not applied:
                return []
        if keyspace._changes[self._key] != self._watched:
            return PositionMoved("the position changed before EXEC")
        try:
            return keyspace._execute(commands)
        except StoreUnavailable as error:
            self.lost = True
            return error

    def settle(self) -> bytes | None:
        outcome, self._outcome = self._outcome, None
        assert outcome is not None, "settle without submit"
        if isinstance(outcome, Exception):
            raise outcome
        self._check()
        check_results(self._submitted, outcome)
        return self._value

    def close(self) -> None:
        self.lost = True

    def _check(self) -> None:
        if self.lost:
            raise StoreUnavailable("the connection to Redis was lost")


_SCAN_COUNT = 100
_GROWING = {b"SET", b"MSET", b"SETRANGE", b"BITFIELD", b"COPY", b"HSET"}
_COMMANDS: dict[bytes, Callable[..., object]] = {
    b"TIME": MemoryKeyspace.time,
    b"GET": MemoryKeyspace.get,
    b"SET": MemoryKeyspace.set,
    b"MGET": MemoryKeyspace.mget,
    b"MSET": MemoryKeyspace.mset,
    b"SETRANGE": MemoryKeyspace.setrange,
    b"GETRANGE": MemoryKeyspace.getrange,
    b"BITFIELD": MemoryKeyspace.bitfield,
    b"RENAME": MemoryKeyspace.rename,
    b"COPY": MemoryKeyspace.copy,
    b"DEL": MemoryKeyspace.delete,
    b"HGET": MemoryKeyspace.hget,
    b"HKEYS": MemoryKeyspace.hkeys,
    b"HGETALL": MemoryKeyspace.hgetall,
    b"HSET": MemoryKeyspace.hset,
    b"HDEL": MemoryKeyspace.hdel,
}
