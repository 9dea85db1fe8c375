"""SQLite on a group of the real code (in memory): copies at another site open and add up, mixed ones do not."""

import itertools
import random

import apsw

import tidelog
from tests.gateways.marking import MarkingVolume
from tidelog.consumers.site_volume import CopyVolume
from tidelog.gateways.sqlite import database, open_copy
from tidelog.gateways.sqlite_file import file_length
from tidelog.testing.fixtures import SiteFactory

ACCOUNTS = 3000
BALANCE = 1000
COPIES = 8


def total(main: CopyVolume, journal: CopyVolume) -> int | None:
    """The sum of all balances in a pair of copies; None if the database is damaged."""
    try:
        connection = open_copy(main, journal)
        if connection.execute("PRAGMA integrity_check").get != "ok":
            return None
        found = connection.execute("SELECT sum(balance) FROM account").get
    except apsw.Error:
        return None
    return found if isinstance(found, int) else None


def test_copies_cut_within_and_between_commits(
    tidelog_memory_group: tidelog.Group, tidelog_memory_site: SiteFactory
) -> None:
    """Every copy is whole at osaka; the hot journal of another copy makes the bank wrong."""
    group = tidelog_memory_group
    osaka = tidelog_memory_site("osaka")
    main, journal = group.create_volume("ledger", "16MiB"), group.create_volume("journal", "16MiB")
    marking = MarkingVolume(group, main)
    connection = database(group, marking, journal)
    connection.execute("CREATE TABLE account (id INTEGER PRIMARY KEY, balance INTEGER, note TEXT)")
    rows = ((number, BALANCE, "n" * 60) for number in range(ACCOUNTS))
    with connection:
        connection.executemany("INSERT INTO account VALUES (?, ?, ?)", rows)
    rng = random.Random(1)
    for number in range(COPIES):
        for transaction in range(5):
            if transaction == 3 and number % 2 == 0:
                marking.due = f"copy-{number}"
            with connection:
                for _ in range(5):
                    amount, source, target = rng.randrange(1, 50), rng.randrange(ACCOUNTS), rng.randrange(ACCOUNTS)
                    connection.execute("UPDATE account SET balance = balance - ? WHERE id = ?", (amount, source))
                    connection.execute("UPDATE account SET balance = balance + ? WHERE id = ?", (amount, target))
        if number % 2:
            marked = group.mark(f"copy-{number}")
    marked.wait(["osaka"], timeout=30)
    copies = [(copy.volume("ledger"), copy.volume("journal")) for copy in osaka.group(group.name).copies()]
    assert [total(*copy) for copy in copies] == [ACCOUNTS * BALANCE] * COPIES
    assert [file_length(journal) > 0 for _, journal in copies] == [True, False] * (COPIES // 2)
    mixed = [
        total(main, journal)
        for (main, own), (_, journal) in itertools.product(copies, copies)
        if journal is not own and file_length(journal)
    ]
    assert sum(found != ACCOUNTS * BALANCE for found in mixed) >= len(mixed) * 0.8
