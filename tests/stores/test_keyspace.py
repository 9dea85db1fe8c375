"""The contract of a keyspace, on the twin in memory and on real Redis servers."""

from typing import Any

import pytest

from tidelog.clock import wall_us
from tidelog.errors import StoreDamaged
from tidelog.stores.holds import time_us
from tidelog.stores.keys import Keys
from tidelog.stores.keyspace import Keyspace, PositionMoved
from tidelog.stores.memory import MemoryKeyspace
from tidelog.stores.wire import START, Packed, VolumeFormats, mset, pack, unpack

KEY = b"tidelog:{t}:position"
COMMANDS: list[tuple[tuple[bytes, ...], Any]] = [
    ((b"GET", b"a"), None),
    ((b"SET", b"a", b"one"), b"OK"),
    ((b"GET", b"a"), b"one"),
    ((b"MSET", b"b", b"\0\r\n\xff", b"c", b""), b"OK"),
    ((b"MGET", b"a", b"b", b"c", b"absent"), [b"one", b"\0\r\n\xff", b"", None]),
    ((b"SETRANGE", b"a", b"5", b"two"), 8),
    ((b"GET", b"a"), b"one\0\0two"),
    ((b"SETRANGE", b"a", b"0", b"ON"), 8),
    ((b"SETRANGE", b"absent", b"0", b""), 0),
    ((b"GETRANGE", b"a", b"0", b"3"), b"ONe\0"),
    ((b"GETRANGE", b"a", b"6", b"100"), b"wo"),
    ((b"GETRANGE", b"absent", b"0", b"9"), b""),
    ((b"BITFIELD", b"m", b"SET", b"u8", b"#2", b"129", b"SET", b"u8", b"#0", b"7"), [0, 0]),
    ((b"BITFIELD", b"m", b"SET", b"u8", b"#2", b"1"), [129]),
    ((b"GET", b"m"), b"\x07\0\x01"),
    ((b"RENAME", b"a", b"d"), b"OK"),
    ((b"MGET", b"a", b"d"), [None, b"ONe\0\0two"]),
    ((b"RENAME", b"d", b"b"), b"OK"),
    ((b"COPY", b"b", b"e", b"REPLACE"), 1),
    ((b"COPY", b"b", b"e"), 0),
    ((b"COPY", b"absent", b"e", b"REPLACE"), 0),
    ((b"GET", b"e"), b"ONe\0\0two"),
    ((b"DEL", b"b", b"absent", b"e"), 2),
    ((b"HSET", b"h", b"1", b"x", b"2", b"y"), 2),
    ((b"HSET", b"h", b"1", b"z"), 0),
    ((b"HGET", b"h", b"1"), b"z"),
    ((b"HGET", b"h", b"9"), None),
    ((b"HGETALL", b"h"), [b"1", b"z", b"2", b"y"]),
    ((b"HKEYS", b"h"), [b"1", b"2"]),
    ((b"HGETALL", b"absent"), []),
    ((b"MGET", b"h"), [None]),
    ((b"HDEL", b"h", b"1", b"2", b"3"), 2),
    ((b"HKEYS", b"h"), []),
    ((b"DEL", b"h"), 0),
]


def test_every_command_replies_alike(keyspace: Keyspace) -> None:
    """One by one and all in one transaction: what Redis replies is what the twin replies."""
    for command, reply in COMMANDS:
        assert keyspace.transact([command]) == [reply], command
    keyspace.transact([(b"DEL", b"c", b"m")])
    assert keyspace.transact([command for command, _ in COMMANDS]) == [reply for _, reply in COMMANDS]


def test_packed_commands_are_the_same_commands(keyspace: Keyspace) -> None:
    """Commands built in wire format do what their arguments say."""
    formats = VolumeFormats(Keys("t"), 7, 3)
    block = formats.block % 9
    commands = [
        mset([formats.whole % (9, 4), memoryview(b"abcd"), formats.whole % (10, 2), b"\r\n"]),
        Packed(2, [formats.copy % (9, 9), formats.rename % (10, 10)]),
        Packed(2, [formats.set_range % (9, START[1], 2, b"XY"), formats.set_range % (9, START[300], 1, b"Z")]),
        (b"GET", block),
    ]
    assert keyspace.transact(commands) == [b"OK", 1, b"OK", 4, 301, (b"aXYd").ljust(300, b"\0") + b"Z"]
    old = Keys("t").before_format(3, 7)
    assert keyspace.transact([(b"MGET", old % 9, old % 10, formats.block % 10)]) == [[b"abcd", b"\r\n", None]]
    assert unpack(commands)[0] == (b"MSET", block, b"abcd", formats.block % 10, b"\r\n")
    assert unpack([unpack(commands)[3]]) == unpack(commands)[3:4]
    assert b"".join(pack(commands)) == b"".join(pack(unpack(commands)))


def test_a_failing_command_of_a_transaction_is_damage(keyspace: Keyspace) -> None:
    """A wrong type is; a RENAME of nothing is not."""
    keyspace.transact([(b"SET", b"s", b"1"), (b"HSET", b"h", b"f", b"1")])
    keyspace.transact([(b"RENAME", b"absent", b"x"), (b"SET", b"s", b"2")])
    for command in [(b"HSET", b"s", b"f", b"1"), (b"SETRANGE", b"h", b"0", b"1"), (b"GET", b"h")]:
        with pytest.raises(StoreDamaged, match="WRONGTYPE"):
            keyspace.transact([command, (b"SET", b"s", b"3")])
    assert keyspace.transact([(b"GET", b"s")]) == [b"3"]


def test_a_session_sets_its_key_conditionally(keyspace: Keyspace) -> None:
    """Each transaction sees the value that the one before it left, read behind its own WATCH."""
    session = keyspace.session(KEY)
    assert session.begin() is None
    session.submit([(b"SET", b"a", b"1"), (b"SET", KEY, b"p1")])
    assert session.settle() == b"p1"
    session.submit([(b"RENAME", b"absent", b"x"), (b"SET", KEY, b"p2")])
    assert session.settle() == b"p2"
    session.submit([(b"GET", b"a")])
    assert session.settle() == b"p2"
    session.close()


def test_a_session_aborts_when_its_key_was_touched(keyspace: Keyspace) -> None:
    """Also by the same value, by deletion, or by another session; after `begin` it goes on."""
    session, other = keyspace.session(KEY), keyspace.session(KEY)
    session.begin()
    for touch in [(b"SET", KEY, b"x"), (b"SET", KEY, b"x"), (b"DEL", KEY), (b"RENAME", b"y", KEY)]:
        keyspace.transact([(b"SET", b"y", b"1")])
        keyspace.transact([touch])
        session.submit([(b"SET", b"a", b"1"), (b"SET", KEY, b"p")])
        with pytest.raises(PositionMoved):
            session.settle()
        assert keyspace.transact([(b"GET", b"a")]) == [None]
        session.begin()
    other.begin()
    other.submit([(b"SET", KEY, b"q")])
    assert other.settle() == b"q"
    session.submit([(b"SET", KEY, b"p")])
    with pytest.raises(PositionMoved):
        session.settle()
    assert session.begin() == b"q"
    session.submit([(b"SET", KEY, b"p")])
    assert session.settle() == b"p"
    session.close()
    other.close()


def test_touching_another_key_aborts_nothing(keyspace: Keyspace) -> None:
    """Only the watched key counts."""
    session = keyspace.session(KEY)
    session.begin()
    keyspace.transact([(b"SET", b"other", b"1"), (b"DEL", KEY)])
    session.submit([(b"SET", KEY, b"p")])
    assert session.settle() == b"p"


def test_a_failing_command_of_a_session_is_damage(keyspace: Keyspace) -> None:
    """The others of its transaction took effect (EXEC does not roll back), and the session is over."""
    keyspace.transact([(b"HSET", b"h", b"f", b"1")])
    session = keyspace.session(KEY)
    session.begin()
    session.submit([(b"SETRANGE", b"h", b"0", b"1"), (b"SET", KEY, b"p")])
    with pytest.raises(StoreDamaged, match="SETRANGE h failed"):
        session.settle()
    assert keyspace.transact([(b"GET", KEY)]) == [b"p"]


def test_thousands_of_commands_in_one_transaction(keyspace: Keyspace) -> None:
    """More replies than any buffer holds at once."""
    session = keyspace.session(KEY)
    session.begin()
    for value in (b"p1", b"p2"):
        session.submit([*((b"SETRANGE", b"k%d" % index, b"0", b"x") for index in range(20_000)), (b"SET", KEY, value)])
        assert session.settle() == value


def test_scan_finds_every_key_of_a_prefix(keyspace: Keyspace) -> None:
    """All keys that were there all along, and none of another prefix."""
    keyspace.transact([(b"SET", b"{a}:%d" % index, b"") for index in range(2500)] + [(b"SET", b"{b}:1", b"")])
    found: set[bytes] = set()
    cursor = 0
    while True:
        cursor, keys = keyspace.scan(cursor, b"{a}:")
        found.update(keys)
        if not cursor:
            break
    assert found == {b"{a}:%d" % index for index in range(2500)}


def test_the_eviction_policy_is_known(keyspace: Keyspace) -> None:
    assert keyspace.eviction_policy() == "noeviction"


def test_the_twin_rewinds() -> None:
    """A snapshot is not changed by what comes after it, and comes back whole."""
    keyspace = MemoryKeyspace()
    keyspace.transact([(b"SET", b"a", b"1"), (b"HSET", b"h", b"f", b"1")])
    before = keyspace.snapshot()
    keyspace.transact([(b"SET", b"a", b"2"), (b"HSET", b"h", b"f", b"2"), (b"SET", b"b", b"1")])
    keyspace.restore(before)
    assert keyspace.transact([(b"MGET", b"a", b"b"), (b"HGET", b"h", b"f")]) == [[b"1", None], b"1"]


def test_the_time_of_the_server(keyspace: Keyspace) -> None:
    """Seconds and microseconds, as text, for leases: about the machine's own here, and never backwards."""
    replies = [keyspace.transact([(b"TIME",)])[0] for _ in range(2)]
    first, second = map(time_us, replies)
    assert first <= second and abs(second - wall_us()) < 60_000_000
