"""A drill: a bank's database opened read-write on a clone of a copy, at another site, while the bank goes on."""

import apsw
import pytest

import tidelog
from tests.gateways.marking import MarkingVolume
from tidelog.errors import NotFound
from tidelog.gateways.sqlite import database, open_copy
from tidelog.gateways.sqlite_file import file_length
from tidelog.testing.fixtures import SiteFactory

ACCOUNTS = 500
TOTAL = ACCOUNTS * 1000


def pay(connection: apsw.Connection, amount: int, source: int, target: int) -> None:
    with connection:
        connection.execute("UPDATE account SET balance = balance - ? WHERE id = ?", (amount, source))
        connection.execute("UPDATE account SET balance = balance + ? WHERE id = ?", (amount, target))


def total(connection: apsw.Connection) -> object:
    assert connection.execute("PRAGMA integrity_check").get == "ok"
    return connection.execute("SELECT sum(balance) FROM account").get


def test_a_drill_on_a_clone(tidelog_memory_group: tidelog.Group, tidelog_memory_site: SiteFactory) -> None:
    """The clone recovers what was under way, runs transactions, and is whole; copy, digest and bank are untouched."""
    group = tidelog_memory_group
    site = tidelog_memory_site("osaka")
    main, journal = group.create_volume("ledger", "4MiB"), group.create_volume("journal", "4MiB")
    marking = MarkingVolume(group, main)
    bank = database(group, marking, journal)
    bank.execute("CREATE TABLE account (id INTEGER PRIMARY KEY, balance INTEGER)")
    with bank:
        bank.executemany("INSERT INTO account VALUES (?, 1000)", ((number,) for number in range(ACCOUNTS)))
    group.mark("first").wait(["osaka"], timeout=30)
    osaka = site.group(group.name)
    marking.due = "nightly"
    pay(bank, 700, 1, 2)
    assert osaka.wait_until(group.session.confirmed.sequence)
    copy = osaka.copy("nightly")
    digest = copy.digest()
    clones = [osaka.create_clone("nightly", f"drill-{number}") for number in range(3)]
    for number, clone in enumerate(clones):
        drill = database(clone, clone.volume("ledger"), clone.volume("journal"))
        assert total(drill) == TOTAL
        with drill:
            drill.execute("INSERT INTO account VALUES (?, ?)", (ACCOUNTS + number, number))
        for turn in range(20):
            pay(drill, turn, turn, turn + 1 + number)
        again = database(osaka.clone(clone.name), clone.volume("ledger"), clone.volume("journal"))
        assert total(again) == total(drill) == TOTAL + number
        pay(bank, 10, 3, 4)
        assert clone.volume("ledger").diff().blocks.count
        drill.close()
        again.close()
    assert osaka._store.verify(copy.info) == digest
    group.drop_copy("nightly")
    assert osaka.wait_until(group.session.confirmed.sequence)
    with pytest.raises(NotFound):
        osaka.copy("nightly")
    for number, clone in enumerate(clones):
        reopened = database(clone, clone.volume("ledger"), clone.volume("journal"))
        assert total(reopened) == TOTAL + number
        reopened.close()
    assert total(bank) == TOTAL
    for clone in clones:
        osaka.drop_clone(clone.name)
    assert osaka.clones() == []


def test_the_copy_beside_its_clone(tidelog_memory_group: tidelog.Group, tidelog_memory_site: SiteFactory) -> None:
    """Its digest, its bytes and what SQLite reads from it are what they were."""
    group = tidelog_memory_group
    site = tidelog_memory_site("osaka")
    main, journal = group.create_volume("ledger", "4MiB"), group.create_volume("journal", "4MiB")
    bank = database(group, main, journal)
    bank.execute("CREATE TABLE account (id INTEGER PRIMARY KEY, balance INTEGER)")
    with bank:
        bank.executemany("INSERT INTO account VALUES (?, 1000)", ((number,) for number in range(ACCOUNTS)))
    group.mark("nightly").wait(["osaka"], timeout=30)
    osaka = site.group(group.name)
    copy = osaka.copy("nightly")
    digest, before = copy.digest(), copy.volume("ledger").read(0, main.size)
    clone = osaka.create_clone("nightly", "drill")
    drill = database(clone, clone.volume("ledger"), clone.volume("journal"))
    drill.execute("DELETE FROM account")
    drill.execute("VACUUM")
    assert total(drill) is None
    assert copy.volume("ledger").read(0, main.size) == before
    assert osaka._store.verify(copy.info) == digest
    assert total(open_copy(copy.volume("ledger"), copy.volume("journal"))) == TOTAL


def test_a_drill_on_a_clone_of_a_wal(tidelog_memory_group: tidelog.Group, tidelog_memory_site: SiteFactory) -> None:
    """What was committed into the WAL is there, and goes on in the clone alone: copy and bank stay as they are."""
    group = tidelog_memory_group
    names = ("ledger", "journal", "wal")
    bank = database(group, *(group.create_volume(name, "4MiB") for name in names))
    bank.execute("CREATE TABLE account (id INTEGER PRIMARY KEY, balance INTEGER)")
    with bank:
        bank.executemany("INSERT INTO account VALUES (?, 1000)", ((number,) for number in range(ACCOUNTS)))
    osaka_site = tidelog_memory_site("osaka")
    group.mark("nightly").wait(["osaka"], timeout=30)
    osaka = osaka_site.group(group.name)
    copy = osaka.copy("nightly")
    before = [copy.volume(name).read(0, 4 << 20) for name in names]
    assert file_length(copy.volume("wal")) > 0
    clone = osaka.create_clone("nightly", "drill")
    drill = database(clone, *(clone.volume(name) for name in names))
    pay(drill, 700, 1, 2)
    drill.execute("DELETE FROM account WHERE id > 400")
    assert total(drill) == 401 * 1000
    drill.close()
    assert total(open_copy(*(copy.volume(name) for name in names))) == TOTAL == total(bank)
    assert [copy.volume(name).read(0, 4 << 20) for name in names] == before
