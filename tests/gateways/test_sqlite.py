"""SQLite on volumes: whole at every cut, durable at every commit, and visibly broken by files of different moments."""

import itertools
import random
import threading

import apsw
import pytest

from tests.gateways.bank import ACCOUNTS, BALANCE, SIZE, Bank, Volume, balances, copied, whole
from tidelog.errors import Fenced, UsageError
from tidelog.gateways.sqlite import database, open_copy
from tidelog.gateways.sqlite_file import DATA_OFFSET, file_length


@pytest.mark.parametrize("journal_mode", ["delete", "truncate", "persist", "wal"])
@pytest.mark.parametrize("cache_pages", [200, 5], ids=["cached", "spilling"])
def test_every_cut_is_the_old_state_or_the_new(journal_mode: str, cache_pages: int) -> None:
    """All or nothing, after every single write of three transactions, also when dirty pages spill before the commit."""
    bank = Bank(journal_mode, cache_pages)
    rng = random.Random(1)
    first = len(bank.group.changes)
    expected = [balances(*bank.volumes)]
    ends = []
    for _ in range(3):
        bank.transfer(rng, 12)
        assert bank.group.flushed == len(bank.group.changes), "a commit that returned is confirmed"
        ends.append(len(bank.group.changes))
        expected.append(balances(*bank.volumes))
    assert len({tuple(state) for state in expected}) == 4
    reached = 0
    for count, volumes in bank.states(first):
        state = balances(*volumes)
        assert sum(state) == ACCOUNTS * BALANCE
        assert state in (expected[reached], expected[min(reached + 1, 3)])
        reached = expected.index(state)
        assert reached >= sum(end <= count for end in ends), "a commit that returned is there"
    assert reached == 3


def test_growth_shrink_and_vacuum_are_all_or_nothing() -> None:
    """Also while the file's length changes, and with the freed end of the volume discarded."""
    bank = Bank(cache_pages=20)
    first = len(bank.group.changes)
    bank.connection.execute("CREATE TABLE extra (x)")
    bank.connection.execute(f"INSERT INTO extra VALUES (zeroblob({200 * 1024}))")
    grown = file_length(bank.main)
    bank.connection.execute("DROP TABLE extra")
    bank.connection.execute("VACUUM")
    assert file_length(bank.main) < grown - 150 * 1024
    assert not any(bank.main.content[DATA_OFFSET + file_length(bank.main) :])
    for _, (main, journal) in bank.states(first):
        assert sum(balances(main, journal)) == ACCOUNTS * BALANCE


def test_a_rolled_back_transaction_writes_nothing() -> None:
    """What only the journal's append buffer saw never becomes events."""
    bank = Bank()
    before = len(bank.group.changes)
    bank.connection.execute("BEGIN; UPDATE account SET balance = 0 WHERE id = 5; ROLLBACK")
    assert len(bank.group.changes) == before


def test_a_small_commit_is_few_writes() -> None:
    """One journal write, its length, the changed pages, the journal's end: no header write a page, no write a piece."""
    bank = Bank()
    before = len(bank.group.changes)
    bank.transfer(random.Random(3), 1)
    assert len(bank.group.changes) - before <= 3 + 3


def test_reopening_finds_the_database_and_rolls_back_a_torn_commit() -> None:
    """A new process on the volumes of a crashed one: the hot journal is rolled back on the volumes themselves."""
    bank = Bank(cache_pages=5)
    first = len(bank.group.changes)
    expected = balances(bank.main, bank.journal)
    bank.transfer(random.Random(4), 50)
    middle = (first + len(bank.group.changes)) // 2
    main, journal = next(
        (copied(main), copied(journal)) for count, (main, journal) in bank.states(first) if count == middle
    )
    assert file_length(journal) > 0 and main.content != next(bank.states(first))[1][0].content
    connection = database(main.group, main, journal)
    assert [row[0] for row in connection.execute("SELECT balance FROM account ORDER BY id")] == expected
    assert file_length(journal) == 0


def test_a_copy_is_not_touched_and_not_writable() -> None:
    """The rollback of a hot journal happens in memory."""
    bank = Bank(cache_pages=5)
    first = len(bank.group.changes)
    bank.transfer(random.Random(5), 40)
    hot = 0
    for _, (main, journal) in bank.states(first):
        hot += file_length(journal) > 0
        before = bytes(main.content), bytes(journal.content)
        connection = open_copy(main, journal)
        assert connection.execute("SELECT sum(balance) FROM account").get == ACCOUNTS * BALANCE
        with pytest.raises(apsw.ReadOnlyError):
            connection.execute("DELETE FROM account")
        assert (bytes(main.content), bytes(journal.content)) == before
    assert hot > 10


def test_files_of_different_moments_do_not_pass() -> None:
    """The check has teeth: a main file with the journal of another moment is a broken bank, if that journal was hot."""
    bank = Bank(cache_pages=20)
    rng = random.Random(6)
    first = len(bank.group.changes)
    for _ in range(20):
        bank.transfer(rng, 50)
    cuts = sorted(rng.sample(range(first, len(bank.group.changes)), 12))
    copies: list[tuple[Volume, Volume]] = []
    for count, (main, journal) in bank.states(first):
        if count in cuts:
            copies.append((copied(main), copied(journal)))
    assert all(whole(*copy) for copy in copies)
    mixed = [
        (file_length(journal) > 0, whole(main, journal))
        for (main, own), (_, journal) in itertools.product(copies, copies)
        if journal is not own
    ]
    with_hot_journal = [sound for hot, sound in mixed if hot]
    assert len(with_hot_journal) >= 20
    assert sum(with_hot_journal) <= len(with_hot_journal) * 0.2


def test_two_connections_keep_sqlites_locks() -> None:
    """Writers wait for one another, and no thread sees or makes a torn state."""
    bank = Bank()
    errors: list[BaseException] = []

    def work(seed: int) -> None:
        try:
            connection = database(bank.group, bank.main, bank.journal)
            connection.set_busy_timeout(20_000)
            rng = random.Random(seed)
            for _ in range(8):
                amount, source, target = rng.randrange(1, 50), rng.randrange(ACCOUNTS), rng.randrange(ACCOUNTS)
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("UPDATE account SET balance = balance - ? WHERE id = ?", (amount, source))
                connection.execute("UPDATE account SET balance = balance + ? WHERE id = ?", (amount, target))
                connection.execute("COMMIT")
                assert connection.execute("SELECT sum(balance) FROM account").get == ACCOUNTS * BALANCE
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sum(balances(bank.main, bank.journal)) == ACCOUNTS * BALANCE


def test_a_reader_holds_the_writer_off_and_a_pending_writer_new_readers() -> None:
    """SHARED, RESERVED, PENDING, EXCLUSIVE, as SQLite's documentation has it."""
    bank = Bank()
    reader, late = (database(bank.group, bank.main, bank.journal) for _ in range(2))
    rows = reader.execute("SELECT * FROM account")
    next(rows)
    bank.connection.execute("BEGIN IMMEDIATE; UPDATE account SET balance = balance + 1 WHERE id = 1")
    with pytest.raises(apsw.BusyError):
        late.execute("BEGIN IMMEDIATE")
    with pytest.raises(apsw.BusyError):
        bank.connection.execute("COMMIT")
    with pytest.raises(apsw.BusyError):
        late.execute("SELECT count(*) FROM account").get  # noqa: B018
    rows.close()
    bank.connection.execute("COMMIT")
    assert late.execute("SELECT sum(balance) FROM account").get == ACCOUNTS * BALANCE + 1


def test_the_groups_errors_reach_the_statement() -> None:
    """A fenced session is `Fenced` to the application, not some disk error."""
    bank = Bank()
    bank.group.fenced = True
    with pytest.raises(Fenced):
        bank.connection.execute("UPDATE account SET balance = 0 WHERE id = 1")


def test_a_full_volume_is_sqlite_full() -> None:
    """The transaction fails, the database stays what it was."""
    bank = Bank()
    with pytest.raises(apsw.FullError):
        bank.connection.execute(f"CREATE TABLE big AS SELECT zeroblob({SIZE}) AS x")
    assert sum(balances(bank.main, bank.journal)) == ACCOUNTS * BALANCE


def test_what_cannot_live_on_two_volumes_is_refused() -> None:
    """No WAL without a volume for it, no attached database, one volume is not enough, foreign bytes are not a file."""
    bank = Bank()
    for locking_mode in ("normal", "exclusive"):
        bank.connection.execute(f"PRAGMA locking_mode = {locking_mode}")
        with pytest.raises(apsw.SQLError, match="volume of its own"):
            bank.connection.execute("PRAGMA journal_mode = 'WAL'")
    bank.connection.execute("PRAGMA locking_mode = normal; SELECT * FROM account LIMIT 1")
    with pytest.raises(apsw.CantOpenError):
        bank.connection.execute("ATTACH 'other' AS other")
    with pytest.raises(UsageError):
        database(bank.group, bank.main, bank.main)
    with pytest.raises(UsageError):
        database(bank.group, bank.main, Volume(bank.group))
    with pytest.raises(UsageError, match="another database"):
        database(bank.group, Volume(bank.group), bank.journal)
    with pytest.raises(UsageError, match="another database"):
        database(bank.group, Volume(bank.group), Volume(bank.group), bank.main)
    foreign = Volume(bank.group)
    foreign.write(0, b"something else")
    with pytest.raises(UsageError, match="other than a file"):
        database(bank.group, foreign, Volume(bank.group))
