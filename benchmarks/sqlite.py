"""SQLite's small transactions: on two and three volumes, beside a file on this machine's disk with synchronous=FULL."""

import random
import tempfile
import time
from pathlib import Path

import apsw

import tidelog
from benchmarks import ours
from benchmarks.arithmetic import Row, alternate, at_least, paired
from benchmarks.child import Child, in_child
from benchmarks.servers import PRIMARY, Bench, Servers
from tidelog.gateways.sqlite import database

ROWS = 2000
SIZE = "64MiB"
JOURNAL, WAL = "DELETE", "WAL"
# A commit costs two flushes of the log, or one; a file's costs two or three of its disk's. Which of them is quicker is
# the machine's business, so this only says when it is out of all proportion.
GOAL = 0.1


def sqlite(bench: Bench) -> list[Row]:
    """Transactions a second of one connection, each of one changed row; the limit is a file in the same mode."""
    count = bench.sized(500, 20)
    rows = []
    for mode in (JOURNAL, WAL):
        found = alternate(
            {
                "volumes": lambda mode=mode: served(bench, mode, count),
                "file": lambda mode=mode: in_child(on_a_file, mode, count),
            },
            bench.pairs,
        )
        note = f"{count} transactions of one row each; the file is in {tempfile.gettempdir()}, synchronous=FULL"
        name = f"sqlite, {'rollback journal' if mode == JOURNAL else 'WAL'} / a file"
        rows.append(paired(name, "transactions/s", found["volumes"], found["file"], at_least(GOAL), note))
    return rows


def served(bench: Bench, mode: str, count: int) -> float:
    """The rate on a new group, its primary site's worker running."""
    group = bench.new_group()
    with Child(ours.serve, bench.servers, group, PRIMARY) as worker:
        rate = in_child(on_volumes, bench.servers, group, mode, count)
        worker.hear()
        worker.say()
        worker.result()
    return rate


def on_volumes(servers: Servers, group: str, mode: str, count: int) -> float:
    """In a child: transactions a second, each in the log when it returns."""
    with tidelog.open_group(group, servers.config()) as opened:
        names = ("main", "journal", "wal") if mode == WAL else ("main", "journal")
        connection = database(opened, *(opened.create_volume(name, SIZE) for name in names))
        rate = transactions_per_second(connection, count)
        connection.close()
    return rate


def on_a_file(mode: str, count: int) -> float:
    """In a child: transactions a second, each on disk when it returns."""
    with tempfile.TemporaryDirectory() as folder:
        connection = apsw.Connection(str(Path(folder) / "file.db"))
        connection.execute(f"PRAGMA synchronous = FULL; PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = {mode}")
        rate = transactions_per_second(connection, count)
        connection.close()
    return rate


def transactions_per_second(connection: apsw.Connection, count: int) -> float:
    """One row changed in each."""
    connection.execute("CREATE TABLE account (id INTEGER PRIMARY KEY, balance INTEGER)")
    with connection:
        connection.executemany("INSERT INTO account VALUES (?, 1000)", ((number,) for number in range(ROWS)))
    rng = random.Random(1)
    start = time.perf_counter()
    for _ in range(count):
        connection.execute("UPDATE account SET balance = balance + 1 WHERE id = ?", (rng.randrange(ROWS),))
    return count / (time.perf_counter() - start)
