"""A database whose rows all say in which turn they were written last: part of a transaction shows at once."""

from collections.abc import Callable
from contextlib import suppress

import apsw

from tests.gateways.killing import Killed, dying
from tidelog.consumers.site_view import Site
from tidelog.gateways.sqlite import database, open_copy
from tidelog.gateways.sqlite_file import file_length
from tidelog.producers.group import Group

ROWS = 40
MODES = ["delete", "truncate", "persist", "wal", "wal-checkpointing"]
# Everything that was written before the death is in the log; or what was confirmed, and no more.
SENT, UNSENT = "sent", "unsent"


class Bank:
    """Such a database in a journal mode. ``turn`` is that of the last transaction begun; ``open_group`` begins a writer
    session, which fences the one before."""

    def __init__(self, open_group: Callable[[], Group], mode: str) -> None:
        self._open_group, self.mode = open_group, mode
        self.turn = 0

    @property
    def volumes(self) -> tuple[str, ...]:
        """Names of volumes: main, journal, and in WAL mode the WAL."""
        return ("ledger", "journal", "wal") if self.mode.startswith("wal") else ("ledger", "journal")

    def open(self) -> tuple[Group, apsw.Connection]:
        """A writer session, and the database in it."""
        group = self._open_group()
        connection = database(group, *(group.create_volume(name, "4MiB") for name in self.volumes))
        if self.mode == "wal-checkpointing":
            connection.execute("PRAGMA wal_autocheckpoint = 1")
        elif self.mode != "wal":
            connection.execute(f"PRAGMA journal_mode = {self.mode}")
        return group, connection

    def create(self) -> None:
        """The rows."""
        group, connection = self.open()
        connection.execute("CREATE TABLE account (id INTEGER PRIMARY KEY, turn INTEGER, note TEXT)")
        with connection:
            rows = ((number, 0, "n" * 500) for number in range(ROWS))
            connection.executemany("INSERT INTO account VALUES (?, ?, ?)", rows)
        connection.close()
        group.close()

    def transact(self, connection: apsw.Connection) -> None:
        """A small transaction: changes every row, adds one, takes one away."""
        with connection:
            connection.execute("UPDATE account SET turn = ?", (self.turn,))
            connection.execute("INSERT INTO account VALUES (?, ?, ?)", (ROWS + self.turn, self.turn, "n" * 5000))
            connection.execute("DELETE FROM account WHERE id = ?", (ROWS + self.turn - 1,))

    def killed_at(self, nth: int, leaving: str) -> list[str] | None:
        """A transaction that returns, and one that dies at its nth call: which calls were made before. None if it too
        returned, with fewer calls."""

        def die() -> None:
            raise Killed

        group, connection = self.open()
        assert found(connection) == self.turn
        self.turn += 1
        self.transact(connection)
        self.turn += 1
        with dying(nth, die) as death:
            try:
                self.transact(connection)
            except (Killed, apsw.Error):  # apsw tells it as an error where the death was in VFS.xDelete
                pass
            if death.come and leaving == SENT:
                group.flush()
            if death.come:
                with suppress(Killed, apsw.Error):
                    connection.close(True)
        if death.come:
            group.abandon()
            return death.made
        connection.close()
        group.close()
        return None

    def at_the_other_site(self, site: Site, name: str) -> tuple[int, bool]:
        """The turn that a copy of what the log holds has at ``site``, and whether there was something to mend."""
        group = self._open_group()
        group.mark(name).wait([site.name], timeout=60)
        group.close()
        copy = site.group(group.name).copy(name)
        volumes = [copy.volume(each) for each in self.volumes]
        connection = open_copy(*volumes)
        turn = found(connection)
        connection.close()
        return turn, any(file_length(volume) > 0 for volume in volumes[1:])


def found(connection: apsw.Connection) -> int:
    """The turn of a database that is whole: one transaction's rows, and no other's."""
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    ((turn, turns, rows, last),) = connection.execute(
        "SELECT min(turn), count(DISTINCT turn), count(*), max(id) FROM account"
    ).fetchall()
    assert (turns, rows, last) == (1, ROWS + (turn > 0), ROWS - 1 + (turn + 1 if turn else 0)), "part of a transaction"
    return int(turn)
