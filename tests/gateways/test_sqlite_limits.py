"""SQLite at the ends of what volumes give: full, fenced, grown, attached; and with a WAL on a volume of its own."""

import random
import sqlite3
from contextlib import closing, nullcontext
from pathlib import Path

import apsw
import pytest

from tests.gateways.bank import ACCOUNTS, BALANCE, SIZE, Bank, Group, Volume, balances, copied
from tidelog.errors import Fenced, LogUnavailable, TidelogError, UsageError
from tidelog.gateways.sqlite import database, open_copy
from tidelog.gateways.sqlite_file import DATA_OFFSET, file_length

MODES = ["delete", "truncate", "persist", "wal"]
TOTAL = ACCOUNTS * BALANCE


def sound(connection: apsw.Connection) -> bool:
    """Whole, and no money made or lost."""
    whole = connection.execute("PRAGMA integrity_check").get == "ok"
    return whole and connection.execute("SELECT sum(balance) FROM account").get == TOTAL


@pytest.mark.parametrize("mode", MODES)
def test_a_full_volume_and_after(mode: str) -> None:
    """What has no room is SQLITE_FULL and changes nothing; what has goes on, and all does when there is room again."""
    bank = Bank(mode)
    bank.connection.execute("CREATE TABLE filling (x)")
    with pytest.raises(apsw.FullError):
        bank.connection.executemany("INSERT INTO filling VALUES (zeroblob(?))", [(100_000,)] * (SIZE // 100_000 + 1))
    filled = bank.connection.execute("SELECT count(*) FROM filling").get
    assert filled > 20 and sound(bank.connection)
    bank.transfer(random.Random(1), 10)  # overwrites, and takes no room
    assert sound(bank.connection) and sum(balances(*bank.volumes)) == TOTAL
    bank.connection.execute("DELETE FROM filling")
    bank.connection.execute("INSERT INTO filling VALUES (zeroblob(100000))")
    bank.connection.execute("VACUUM")
    assert sound(bank.connection) and sum(balances(*bank.volumes)) == TOTAL


@pytest.mark.parametrize("mode", MODES)
def test_a_resized_volume_has_room(mode: str) -> None:
    """A journal mode's next transaction uses it; a WAL's next connection does."""
    bank = Bank(mode)
    too_much = f"CREATE TABLE big AS SELECT zeroblob({SIZE}) AS x"
    with pytest.raises(apsw.FullError):
        bank.connection.execute(too_much)
    for volume in bank.volumes:
        volume.content.extend(bytes(3 * SIZE))
        volume.size = 4 * SIZE
    connection = bank.connection
    if mode == "wal":
        connection.close()
        connection = database(bank.group, *bank.volumes)
    connection.execute(too_much)
    assert connection.execute("SELECT length(x) FROM big").get == SIZE and sound(connection)


@pytest.mark.parametrize("mode", MODES)
def test_a_transaction_larger_than_the_page_cache_and_a_vacuum(mode: str) -> None:
    """Rolled back, nothing of it is there; committed, all. VACUUM gives the room back."""
    bank = Bank(mode, cache_pages=5)
    before = balances(*bank.volumes)
    bank.connection.execute("BEGIN; UPDATE account SET balance = 0, note = note || note")
    assert file_length(bank.volumes[-1]) or file_length(bank.main), "nothing was spilled"
    bank.connection.execute("ROLLBACK")
    assert balances(*bank.volumes) == before
    bank.connection.execute("UPDATE account SET note = note || note || note")
    bank.connection.execute("UPDATE account SET note = 'n'")
    if mode == "wal":
        bank.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    grown = file_length(bank.main)
    bank.connection.execute("VACUUM")
    if mode == "wal":
        bank.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert file_length(bank.main) < grown * 0.8 and balances(*bank.volumes) == before
    assert not any(bank.main.content[DATA_OFFSET + file_length(bank.main) :])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("by_hand", [True, False], ids=["execute", "with"])
@pytest.mark.parametrize("error", [Fenced("another took over", hint="open it again"), LogUnavailable("no answer")])
def test_an_error_of_the_group_is_a_disk_error_with_its_own_words(
    mode: str, by_hand: bool, error: TidelogError, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both `apsw.IOError` and what the group raised. The transaction's fate is unknown until the next one's commit,
    which has the connection and a copy agree."""
    bank = Bank(mode)
    kind = type(error)

    def flush() -> None:
        raise kind(error.message, hint=error.hint)

    monkeypatch.setattr(bank.group, "flush", flush)
    with pytest.raises(kind, match=error.message) as raised, nullcontext() if by_hand else bank.connection:
        bank.connection.execute("UPDATE account SET balance = 0 WHERE id = 1")
    assert isinstance(raised.value, apsw.IOError) and raised.value.hint == error.hint
    monkeypatch.undo()
    assert sum(balances(*bank.volumes)) in (TOTAL, TOTAL - BALANCE)
    bank.connection.execute("UPDATE account SET balance = balance + 5 WHERE id = 2")
    assert bank.connection.execute("PRAGMA integrity_check").get == "ok"
    read = [row[0] for row in bank.connection.execute("SELECT balance FROM account ORDER BY id")]
    assert read == balances(*bank.volumes)


def test_attached_databases() -> None:
    """Another database on volumes cannot be, by whatever name; one in memory can, and a commit over both is one."""
    bank, other = Bank(), Bank()
    assert other.connection.filename != bank.connection.filename
    for name in ("other", other.connection.filename, bank.connection.filename):
        with pytest.raises(apsw.CantOpenError):
            bank.connection.execute("ATTACH ? AS other", (name,))
    bank.connection.execute("ATTACH ':memory:' AS scratch; CREATE TABLE scratch.seen (id)")
    with bank.connection:
        bank.connection.execute("INSERT INTO scratch.seen SELECT id FROM account")
        bank.connection.execute("UPDATE account SET balance = balance + 1 WHERE id = 1")
    bank.connection.execute("CREATE TEMP TABLE sorted AS SELECT * FROM account ORDER BY note, balance")
    assert sum(balances(*bank.volumes)) == TOTAL + 1


def test_a_database_comes_from_a_file_and_goes_into_one(tmp_path: Path) -> None:
    """By SQLite's own backup, in both directions; the standard library reads what came out."""
    with closing(sqlite3.connect(tmp_path / "here.db")) as there, there:
        there.execute("CREATE TABLE t (x)")
        there.executemany("INSERT INTO t VALUES (?)", ((number,) for number in range(5000)))
    group = Group()
    main, journal = Volume(group), Volume(group)
    connection = database(group, main, journal)
    with connection.backup("main", apsw.Connection(str(tmp_path / "here.db")), "main") as backup:
        backup.step()
    assert group.flushed == len(group.changes)
    out = apsw.Connection(str(tmp_path / "out.db"))
    with out.backup("main", open_copy(copied(main), copied(journal)), "main") as backup:
        backup.step()
    out.close()
    with closing(sqlite3.connect(tmp_path / "out.db")) as there:
        assert there.execute("SELECT count(*), sum(x) FROM t").fetchone() == (5000, sum(range(5000)))


def test_a_commit_is_one_flush_and_in_a_wal_two_writes() -> None:
    """The frames together, and the file's length. Without a journal the pages themselves are confirmed."""
    flushes = {}
    for mode in ("delete", "truncate", "persist", "memory", "off", "wal"):
        bank = Bank(mode)
        before = len(bank.group.changes)
        bank.group.flushes = 0
        bank.connection.execute("UPDATE account SET balance = balance + 1 WHERE id = 7")
        flushes[mode] = bank.group.flushes
        assert bank.group.flushed == len(bank.group.changes)
        assert mode != "wal" or len(bank.group.changes) - before == 2
    assert set(flushes.values()) == {1}, flushes


@pytest.mark.parametrize("mode", ["delete", "truncate", "persist"])
def test_a_commit_without_a_journal_behind_one_with_it(mode: str) -> None:
    """The journal has ended, so nothing would undo pages that are on their way: they are confirmed by themselves."""
    bank = Bank(mode)
    bank.connection.execute("PRAGMA locking_mode = exclusive")  # else SQLite deletes the journal as the mode changes
    bank.transfer(random.Random(1), 3)
    assert bank.connection.execute("PRAGMA journal_mode = off").get == "off"
    bank.connection.execute("UPDATE account SET balance = balance + 1 WHERE id = 7")
    assert bank.group.flushed == len(bank.group.changes)


def test_a_wal_is_for_one_connection_and_for_whoever_has_its_volume() -> None:
    """A second connection is told to wait, one without the WAL's volume is refused; it can be left again."""
    bank = Bank("wal")
    main, journal, wal = bank.volumes
    with pytest.raises(apsw.BusyError):
        database(bank.group, *bank.volumes)
    for copies in ((copied(main), copied(journal)), ()):
        with pytest.raises(UsageError, match="WAL"):
            open_copy(*copies) if copies else database(bank.group, main, journal)
    assert bank.connection.execute("PRAGMA locking_mode = normal").get == "exclusive"
    bank.connection.execute("SELECT count(*) FROM account")
    with pytest.raises(UsageError, match="each"):
        database(bank.group, main, journal, journal)
    bank.connection.execute("PRAGMA journal_mode = delete; PRAGMA locking_mode = normal; SELECT * FROM account LIMIT 1")
    bank.connection.close()
    del bank.connection
    assert file_length(wal) == 0
    assert database(bank.group, main, journal).execute("SELECT sum(balance) FROM account").get == TOTAL


def test_a_wal_smaller_than_sqlites_thousand_pages() -> None:
    """Checkpoints come in time, and what one transaction cannot fit into is SQLITE_FULL and leaves the rest be."""
    group = Group()
    main, journal, wal = Volume(group), Volume(group), Volume(group, 200_000)
    connection = database(group, main, journal, wal)
    connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, x)")
    for _ in range(200):
        connection.execute("INSERT INTO t (x) VALUES (zeroblob(5000))")
    with pytest.raises(apsw.FullError):
        connection.execute("UPDATE t SET x = zeroblob(5001)")
    connection.execute("UPDATE t SET x = zeroblob(5001) WHERE id < 5")
    assert connection.execute("SELECT count(*), sum(length(x)) FROM t").fetchall() == [(200, 200 * 5000 + 4)]
    assert connection.execute("PRAGMA integrity_check").get == "ok"
