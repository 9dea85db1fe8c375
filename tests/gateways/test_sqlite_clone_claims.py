"""A database on a clone is one process's at a time: whoever opens it later has it, and nothing is torn."""

import subprocess
import sys
from pathlib import Path

import apsw
import pytest

import tidelog
from tests.documents.conftest import config_file, running  # noqa: F401 (fixtures)
from tidelog.consumers.access import open_group
from tidelog.errors import Fenced, UsageError
from tidelog.gateways import sqlite
from tidelog.gateways.library import open_site
from tidelog.gateways.sqlite import database
from tidelog.testing.fixtures import SiteFactory
from tidelog.testing.running import RunningDeployment

ACCOUNTS, TOTAL = 200, 200_000
NAMES = ("ledger", "journal")
OTHER = """
import sys
import tidelog
from tests.gateways.test_sqlite_clone_claims import opened, pay, total
from tidelog.errors import Fenced
with tidelog.open_site("osaka", config=sys.argv[1]) as site:
    drill = opened(site.group("bank").clone("drill"))
    pay(drill, 1)
    print(total(drill), flush=True)
    sys.stdin.readline()
    try:
        pay(drill, 2)
    except Fenced:
        print("fenced", flush=True)
"""


def opened(clone: tidelog.CloneView) -> apsw.Connection:
    return database(clone, *(clone.volume(name) for name in NAMES))


def pay(connection: apsw.Connection, account: int) -> None:
    with connection:
        connection.execute("UPDATE account SET balance = balance - 1 WHERE id = ?", (account,))
        connection.execute("UPDATE account SET balance = balance + 1 WHERE id = ?", (account + 1,))
        connection.execute("INSERT INTO log VALUES (?)", ("x" * 3000,))


def total(connection: apsw.Connection) -> object:
    assert connection.execute("PRAGMA integrity_check").get == "ok"
    return connection.execute("SELECT sum(balance) FROM account").get


def create(group: tidelog.Group) -> None:
    """The bank, and the copy ``nightly`` at osaka."""
    bank = database(group, *(group.create_volume(name, "4MiB") for name in NAMES))
    bank.execute("CREATE TABLE account (id INTEGER PRIMARY KEY, balance INTEGER); CREATE TABLE log (what)")
    with bank:
        bank.executemany("INSERT INTO account VALUES (?, 1000)", ((number,) for number in range(ACCOUNTS)))
    bank.close()
    group.mark("nightly").wait(["osaka"], timeout=60)


@pytest.fixture
def clone(tidelog_memory_group: tidelog.Group, tidelog_memory_site: SiteFactory) -> tidelog.CloneView:
    osaka = tidelog_memory_site("osaka")
    create(tidelog_memory_group)
    return osaka.group(tidelog_memory_group.name).create_clone("nightly", "drill")


def elsewhere(monkeypatch: pytest.MonkeyPatch, clone: tidelog.CloneView) -> apsw.Connection:
    """The database as another process opens it, which knows nothing of what is open here."""
    with monkeypatch.context() as patched:
        for name in ("_by_main", "_claims"):
            patched.setattr(sqlite, name, type(getattr(sqlite, name))())
        return opened(clone)


def test_the_later_has_it(clone: tidelog.CloneView, monkeypatch: pytest.MonkeyPatch) -> None:
    """The earlier is fenced, also within a transaction, and writes nothing; opened anew it has the database again."""
    first = opened(clone)
    pay(first, 1)
    first.execute("BEGIN IMMEDIATE; DELETE FROM account WHERE id < 100")
    second = elsewhere(monkeypatch, clone)
    pay(second, 3)
    assert total(second) == TOTAL
    with pytest.raises(Fenced) as raised:
        first.execute("INSERT INTO log VALUES (zeroblob(100000)); COMMIT")
    assert isinstance(raised.value, apsw.IOError)
    with pytest.raises(Fenced):
        total(first)
    third = opened(clone)
    assert total(third) == TOTAL and third.execute("SELECT count(*) FROM log").get == 2
    pay(third, 5)
    for lost in (second, first):
        with pytest.raises(Fenced):
            pay(lost, 7)
    with pytest.raises(Fenced):  # what was under way is handed over to nobody
        first.close()
    assert total(third) == TOTAL and third.execute("SELECT count(*) FROM log").get == 3


def test_databases_of_one_process_share_its_claim(clone: tidelog.CloneView) -> None:
    """Another connection, and another database on other volumes of the clone, fence none."""
    first, again = opened(clone), opened(clone)
    pay(first, 1)
    pay(again, 2)
    pay(first, 3)
    assert total(first) == total(again) == TOTAL
    with pytest.raises(UsageError):
        database(clone, clone.volume("journal"), clone.volume("ledger"))
    pay(first, 4)


@pytest.mark.servers
@pytest.mark.timeout(180)
def test_two_processes(running: RunningDeployment, config_file: Path) -> None:  # noqa: F811
    """With real servers: each that opens the database ends the other's, and all that was committed is there."""
    with open_group("bank", deployment=running.deployment) as group:
        create(group)
    with open_site("osaka", deployment=running.deployment) as site:
        clone = site.group("bank").create_clone("nightly", "drill")
        first = opened(clone)
        pay(first, 3)
        command = [sys.executable, "-c", OTHER, str(config_file)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
            assert other.stdin and other.stdout
            assert other.stdout.readline() == f"{TOTAL}\n"
            with pytest.raises(Fenced):
                pay(first, 4)
            second = opened(clone)
            pay(second, 5)
            other.stdin.write("go on\n")
            other.stdin.flush()
            assert other.stdout.readline() == "fenced\n"
        assert total(second) == TOTAL and second.execute("SELECT count(*) FROM log").get == 3
        second.close()
