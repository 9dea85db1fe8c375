"""Accounts in SQLite on volumes in memory, and the state of the volumes after any number of changes.

`Volumes` are main, journal and, in WAL mode, the WAL.
"""

import itertools
import random
from collections.abc import Iterator

import apsw

from tidelog.errors import Fenced
from tidelog.gateways.sqlite import database, open_copy

ACCOUNTS = 3000
BALANCE = 1000
SIZE = 4 * 1024 * 1024
_ids = itertools.count(1)


class Volume:
    """Bytes in memory; every change goes to the group's list too, in order."""

    def __init__(self, group: "Group", size: int = SIZE) -> None:
        self.size = size
        self.group = group
        self.id = next(_ids)
        self.content = bytearray(size)

    def read(self, offset: int, length: int) -> bytes:
        assert 0 <= offset <= offset + length <= self.size
        return bytes(self.content[offset : offset + length])

    def write(self, offset: int, data: bytes) -> None:
        assert data and offset >= 0 and offset + len(data) <= self.size
        self.content[offset : offset + len(data)] = data
        self.group.changes.append((self, offset, bytes(data)))

    def discard(self, offset: int, length: int) -> None:
        assert length > 0
        self.write(offset, bytes(length))


Volumes = tuple[Volume, ...]


class Group:
    """Keeps the order of all changes, as the log does; ``flushed`` counts those that a flush confirmed,
    ``flushes`` the flushes."""

    def __init__(self) -> None:
        self.changes: list[tuple[Volume, int, bytes]] = []
        self.flushed = 0
        self.flushes = 0
        self.fenced = False

    def flush(self) -> None:
        if self.fenced:
            raise Fenced("another session took over")
        self.flushed = len(self.changes)
        self.flushes += 1


class Bank:
    """A database of accounts on two volumes (three in WAL mode), and its state at any number of changes."""

    def __init__(self, journal_mode: str = "delete", cache_pages: int = 200) -> None:
        self.group = Group()
        self.volumes: Volumes = tuple(Volume(self.group) for _ in range(3 if journal_mode == "wal" else 2))
        self.main, self.journal = self.volumes[:2]
        self.connection = database(self.group, *self.volumes)
        assert self.connection.execute(f"PRAGMA journal_mode = {journal_mode}").get == journal_mode
        self.connection.execute(f"PRAGMA cache_size = {cache_pages}")
        self.connection.execute("CREATE TABLE account (id INTEGER PRIMARY KEY, balance INTEGER, note TEXT)")
        with self.connection:
            self.connection.executemany(
                "INSERT INTO account VALUES (?, ?, ?)", ((i, BALANCE, "n" * 60) for i in range(ACCOUNTS))
            )

    def transfer(self, rng: random.Random, count: int) -> None:
        """``count`` transfers in one transaction."""
        with self.connection:
            for _ in range(count):
                amount, source, target = rng.randrange(1, 50), rng.randrange(ACCOUNTS), rng.randrange(ACCOUNTS)
                self.connection.execute("UPDATE account SET balance = balance - ? WHERE id = ?", (amount, source))
                self.connection.execute("UPDATE account SET balance = balance + ? WHERE id = ?", (amount, target))

    def states(self, first: int) -> Iterator[tuple[int, Volumes]]:
        """The volumes as they were after ``first`` changes, then after each change up to now."""
        group = Group()
        now = {volume: Volume(group) for volume in self.volumes}
        for count, (volume, offset, data) in enumerate(self.group.changes):
            if count >= first:
                yield count, tuple(now.values())
            now[volume].write(offset, data)
        yield len(self.group.changes), tuple(now.values())


def balances(*volumes: Volume) -> list[int]:
    """All balances of a copy, which must be whole."""
    connection = open_copy(*volumes)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    rows = [row[0] for row in connection.execute("SELECT balance FROM account ORDER BY id")]
    connection.close()
    return [balance for balance in rows if isinstance(balance, int)]


def whole(*volumes: Volume) -> bool:
    """Whether a copy is a sound database in which no money appeared or vanished."""
    try:
        connection = open_copy(*volumes)
        ok = connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return ok and connection.execute("SELECT sum(balance) FROM account").get == ACCOUNTS * BALANCE
    except apsw.Error:
        return False


def copied(volume: Volume) -> Volume:
    """A volume of its own with the same bytes."""
    copy = Volume(Group(), volume.size)
    copy.content[:] = volume.content
    return copy
