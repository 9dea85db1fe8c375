"""Two connections, the same statements: a database on volumes gives the same answers as a file under sqlite3."""

import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import apsw
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.gateways.bank import Group, Volume
from tidelog.gateways.sqlite import database

SCHEMA = "CREATE TABLE t (id INTEGER PRIMARY KEY, x INTEGER); INSERT INTO t VALUES (1, 0), (2, 0), (3, 0)"
STATEMENTS = (
    "BEGIN",
    "BEGIN IMMEDIATE",
    "BEGIN EXCLUSIVE",
    "COMMIT",
    "ROLLBACK",
    "SELECT sum(x) FROM t",
    "UPDATE t SET x = x + 1 WHERE id = 2",
    "PRAGMA journal_mode = delete",
    "VACUUM",
    "open rows",  # a SELECT that is left in the middle, so that its SHARED lock stays
    "close rows",
)
Step = tuple[int, str]
# Runs a statement on the connection of that number: rows, or the name of the error.
Run = Callable[[int, str], object]


def runner(connections: list[Any], errors: type[Exception], name_of: Callable[[Any], str]) -> Run:
    """Statements as text; rows left open are each connection's own."""
    left: dict[int, Any] = {}

    def run(number: int, statement: str) -> object:
        try:
            if statement == "open rows":
                if number not in left:
                    left[number] = connections[number].cursor()
                    left[number].execute("SELECT id FROM t")
                    return next(left[number])
                return None
            if statement == "close rows":
                if number in left:
                    left.pop(number).close()
                return None
            cursor = connections[number].cursor()
            cursor.execute(statement)
            rows = cursor.fetchall()
            cursor.close()
            return [tuple(row) for row in rows]
        except errors as error:
            if statement == "open rows":
                left.pop(number).close()
            return name_of(error)

    return run


@contextmanager
def on_a_file(folder: str) -> Iterator[Run]:
    """The standard library's sqlite3, its locks the operating system's."""
    path = Path(folder) / "file.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as first:
        first.executescript(SCHEMA)
        with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as second:
            first.execute("PRAGMA busy_timeout = 0")
            yield runner([first, second], sqlite3.Error, lambda error: error.sqlite_errorname.split("_")[1])


@contextmanager
def on_volumes() -> Iterator[Run]:
    """Ours."""
    group = Group()
    volumes = Volume(group), Volume(group)
    with closing(database(group, *volumes)) as first:
        first.execute(SCHEMA)
        with closing(database(group, *volumes)) as second:
            yield runner([first, second], apsw.Error, lambda error: type(error).__name__.removesuffix("Error").upper())


NAMES = {"SQL": "ERROR"}  # apsw's SQLError is SQLITE_ERROR


def answers(run: Run, steps: list[Step]) -> list[object]:
    """Of each step; at the end everything is rolled back, and both read the same."""
    told = [run(number, statement) for number, statement in steps]
    for number in (0, 1):
        run(number, "close rows")
        run(number, "ROLLBACK")
    told += [run(number, "SELECT sum(x) FROM t") for number in (0, 1)]
    return [NAMES.get(each, each) if isinstance(each, str) else each for each in told]


@settings(max_examples=120)
@given(st.lists(st.tuples(st.sampled_from([0, 1]), st.sampled_from(STATEMENTS)), min_size=2, max_size=14))
@example([(0, "BEGIN"), (0, "UPDATE t SET x = x + 1 WHERE id = 2"), (1, "open rows"), (0, "COMMIT"), (1, "close rows")])
@example([(0, "BEGIN IMMEDIATE"), (1, "SELECT sum(x) FROM t"), (1, "BEGIN IMMEDIATE"), (0, "COMMIT")])
@example([(0, "BEGIN EXCLUSIVE"), (1, "SELECT sum(x) FROM t"), (0, "ROLLBACK"), (1, "VACUUM")])
def test_the_same_statements_get_the_same_answers(steps: list[Step]) -> None:
    """Rows, SQLITE_BUSY and errors alike, whatever two connections do in turn."""
    with tempfile.TemporaryDirectory() as folder, on_a_file(folder) as file, on_volumes() as volumes:
        assert answers(volumes, steps) == answers(file, steps)


def test_the_comparison_sees_busy() -> None:
    """It has teeth: these steps are answered by SQLITE_BUSY on both sides."""
    steps: list[Step] = [
        (0, "BEGIN IMMEDIATE"),
        (0, "UPDATE t SET x = x + 1 WHERE id = 2"),
        (1, "BEGIN IMMEDIATE"),
        (1, "open rows"),
        (0, "COMMIT"),
        (1, "close rows"),
        (1, "SELECT sum(x) FROM t"),  # the writer that waited is let through first
        (0, "COMMIT"),
    ]
    with tempfile.TemporaryDirectory() as folder, on_a_file(folder) as file, on_volumes() as volumes:
        found = answers(volumes, steps)
        assert found == answers(file, steps)
    assert found[2] == found[4] == found[6] == "BUSY" and found[7] == []
