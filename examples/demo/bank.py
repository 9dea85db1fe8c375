"""A bank in an unmodified SQLite: random transfers that never change the sum of all balances."""

import random
from dataclasses import dataclass

import apsw

from tidelog.errors import TidelogError
from tidelog.gateways.sqlite import open_copy
from tidelog.gateways.sqlite_file import ReadableVolume

ACCOUNTS = 5000
BALANCE = 1000
TOTAL = ACCOUNTS * BALANCE
TRANSFERS = 60  # in one transaction: enough pages for some to be written before the commit


def create(connection: apsw.Connection) -> None:
    """The accounts, each with the same balance. The page cache is small, so that transactions spill while they run."""
    connection.execute("PRAGMA cache_size = 30")
    connection.execute("CREATE TABLE account (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL, note TEXT NOT NULL)")
    connection.execute("CREATE TABLE tally (transactions INTEGER NOT NULL)")
    with connection:
        connection.execute("INSERT INTO tally VALUES (0)")
        connection.executemany(
            "INSERT INTO account VALUES (?, ?, ?)", ((number, BALANCE, "-" * 60) for number in range(ACCOUNTS))
        )


def transfer(connection: apsw.Connection, rng: random.Random, transfers: int = TRANSFERS) -> None:
    """One transaction of so many transfers; committed, hence confirmed in the log, when it returns."""
    with connection:
        for _ in range(transfers):
            amount = rng.randrange(1, 50)
            source, target = rng.randrange(ACCOUNTS), rng.randrange(ACCOUNTS)
            connection.execute("UPDATE account SET balance = balance - ? WHERE id = ?", (amount, source))
            connection.execute("UPDATE account SET balance = balance + ? WHERE id = ?", (amount, target))
        connection.execute("UPDATE tally SET transactions = transactions + 1")


@dataclass(frozen=True)
class Audit:
    """What a database says of itself. ``total`` and ``transactions`` are None where it could not even be asked."""

    integrity: str
    total: int | None = None
    transactions: int | None = None

    @property
    def sound(self) -> bool:
        """Whole, and no money made or lost."""
        return self.integrity == "ok" and self.total == TOTAL

    def __str__(self) -> str:
        return f"integrity_check: {self.integrity}, sum of balances: {self.total}, transactions: {self.transactions}"


def audit(main: ReadableVolume, journal: ReadableVolume) -> Audit:
    """Opens the database that these two hold, read-only, and checks it; a broken one is an answer, not an error."""
    try:
        connection = open_copy(main, journal)
    except (apsw.Error, TidelogError) as error:
        return Audit(f"does not open: {error}")
    try:
        return examine(connection)
    finally:
        connection.close()


def examine(connection: apsw.Connection) -> Audit:
    """Checks an open database."""
    try:
        integrity = str(next(connection.execute("PRAGMA integrity_check"))[0]).splitlines()[0]
        total, transactions = (
            int(str(next(connection.execute(query))[0]))
            for query in ("SELECT sum(balance) FROM account", "SELECT transactions FROM tally")
        )
    except apsw.Error as error:
        return Audit(f"fails: {error}")
    return Audit(integrity, total, transactions)
