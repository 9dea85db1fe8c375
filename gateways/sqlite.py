"""SQLite on tidelog volumes: the database file on one volume, its rollback journal on another, SQLite unmodified.

    connection = tidelog.gateways.sqlite.database(group, main=ledger, journal=journal)
    copy = tidelog.gateways.sqlite.open_copy(main=copy_of_ledger, journal=copy_of_journal)

All volumes belong to one consistency group, so a point-in-time copy holds what a machine would find on its disk after
a power cut at that moment: SQLite rolls back what the journal says, and the database is whole. A commit returns when
all its writes are confirmed in the log: the end of its journal is a ``group.flush()``, and so is every ``xSync`` but
that of the main file just before, since the log keeps the order that SQLite wants there.

Locks are SQLite's five states, kept in a table of this process; other processes are kept away. Of a group, since their
writer session fences this one's. A clone has no session: its databases claim it (`CloneView.claimed`), and whoever
claims it later, in another process, ends the claim before; each read and each write asks in the transaction that it is.

A third volume, ``wal=``, is for a write-ahead log: one flush a commit, as with a journal, and fewer writes. Its index
is kept in this process's heap and not in shared memory (https://sqlite.org/wal.html#noshm; apsw's VFS has no ``xShm*``
methods), so one connection at a time can have the database: ``locking_mode`` is EXCLUSIVE, and others get
``SQLITE_BUSY``. No super-journals: no database can be attached, except in memory.
"""

import itertools
import threading
import weakref
from typing import Protocol

import apsw

from tidelog.consumers.clone_view import CloneView
from tidelog.errors import Fenced, UsageError
from tidelog.gateways.sqlite_file import Overlay, ReadableVolume, WritableVolume
from tidelog.gateways.sqlite_vfs import VFS_NAME, Database, Group, vfs

__all__ = ["VFS_NAME", "Group", "GroupVolume", "database", "open_copy"]

# Of SQLite's file header (https://sqlite.org/fileformat.html): the read version, 2 for WAL, is at byte 19.
_READ_VERSION_AT, _WAL_VERSION = 19, b"\x02"
_CHECKPOINT_PAGES, _FRAME_HEADER_BYTES = 1000, 24  # SQLite's default; what a page has before it in a WAL


class GroupVolume(WritableVolume, Protocol):
    """A volume of a group; ``id`` tells it from the group's other volumes."""

    @property
    def id(self) -> int: ...


class _NoGroup:
    """For copies: what is written stays in memory, and there is nothing to confirm."""

    def flush(self) -> None:
        return


_numbers = itertools.count(1)
_opening = threading.Lock()
_by_main: weakref.WeakValueDictionary[tuple[Group, int], Database] = weakref.WeakValueDictionary()
_claims: weakref.WeakValueDictionary[CloneView, CloneView] = weakref.WeakValueDictionary()  # while a database needs it


def database(group: Group, main: GroupVolume, journal: GroupVolume, wal: GroupVolume | None = None) -> apsw.Connection:
    """A connection to the SQLite database on volumes of ``group``; empty volumes are an empty database.

    Without ``wal``, further connections of this process (one a thread, say) come from further calls with the same
    volumes and share locks. With it the database is put into WAL mode, for one connection at a time: a second one gets
    `apsw.BusyError`. A commit that returned is in the log, if ``PRAGMA synchronous`` is left at FULL. Errors of the
    group (`Fenced`, `LogUnavailable`) come out of the statement that met them and are `apsw.IOError` as well; the
    transaction's fate is then unknown. A clone in the place of the group is this process's from the first call on, and
    every other process with a database on it gets `Fenced`. Raises `UsageError` if a volume holds something else, or
    serves another database, or if the database is in WAL mode and ``wal`` is not given.
    """
    ids = (journal.id, None if wal is None else wal.id)
    given = [main.id, *(number for number in ids if number is not None)]
    if len(set(given)) != len(given):
        raise UsageError("main file, journal and WAL need a volume each")
    with _opening:
        if isinstance(group, CloneView):
            _forget_lost(group)
        found = _by_main.get((group, main.id))
        if found is None:
            _refuse_shared(group, given)
            found = _opened(group, main, journal, wal, ids)
            _refuse_without_wal(found)
            _by_main[(group, main.id)] = found
        elif found.ids != ids:
            journal_id, wal_id = found.ids
            raise UsageError(f"volume {main.id} is open with its journal on volume {journal_id}, its WAL on {wal_id}")
    connection = vfs().connect(found)
    if found.wal is not None:
        _use_wal(connection, "PRAGMA journal_mode = WAL")
        _fit(connection, found.main.capacity, found.wal.capacity)
    return connection


def _opened(
    group: Group, main: GroupVolume, journal: GroupVolume, wal: GroupVolume | None, ids: tuple[int, int | None]
) -> Database:
    """The database, on volumes of a clone through this process's claim on it."""
    if isinstance(group, CloneView):
        group = claim = _claims.get(group) or _claims.setdefault(group, group.claimed())
        there: dict[int, GroupVolume] = {volume.id: volume for volume in claim.volumes()}
        try:
            main, journal, wal = there[main.id], there[journal.id], None if wal is None else there[wal.id]
        except KeyError as error:
            raise UsageError(f"{claim!r} has no volume {error}") from None
    return Database(f"volume-{main.id}-{next(_numbers)}", group, main, journal, wal, ids)


def _forget_lost(clone: CloneView) -> None:
    """If another process has claimed the clone since, databases on it that are open here are done for, not those that
    are opened from now on."""
    if (claim := _claims.get(clone)) is None:
        return
    try:
        claim.state()
    except Fenced:
        del _claims[clone]
        for key in [key for key, database in _by_main.items() if database.group is claim]:
            del _by_main[key]


def open_copy(main: ReadableVolume, journal: ReadableVolume, wal: ReadableVolume | None = None) -> apsw.Connection:
    """A read-only connection to the database as copies of one point in time hold it.

    If a transaction was under way there, SQLite rolls it back in an overlay in memory; the copies are not touched.
    Raises `UsageError` if a copy holds something else, or if the database is in WAL mode and ``wal`` is not given.
    """
    overlay = None if wal is None else Overlay(wal)
    copy = Database(f"copy-{next(_numbers)}", _NoGroup(), Overlay(main), Overlay(journal), overlay)
    _refuse_without_wal(copy)
    connection = vfs().connect(copy)
    if wal is not None:
        _use_wal(connection)
    connection.execute("PRAGMA query_only = ON")
    return connection


def _use_wal(connection: apsw.Connection, *more: str) -> None:
    """EXCLUSIVE before the file is first read, or SQLite wants shared memory. A WAL that begins anew is cut to what is
    in it: appended frames cost one write together, overwritten ones two each."""
    try:
        for pragma in ("PRAGMA locking_mode = EXCLUSIVE", "PRAGMA journal_size_limit = 0", *more):
            connection.execute(pragma)
    except BaseException:
        connection.close()
        raise


def _fit(connection: apsw.Connection, main_bytes: int, wal_bytes: int) -> None:
    """A transaction that the main volume has no room for fails, instead of the checkpoint after it; and there is a
    checkpoint before the WAL's volume is full."""
    page_bytes = int(connection.pragma("page_size"))
    connection.execute(f"PRAGMA max_page_count = {main_bytes // page_bytes}")
    pages = min(_CHECKPOINT_PAGES, wal_bytes // (page_bytes + _FRAME_HEADER_BYTES) // 2)
    connection.execute(f"PRAGMA wal_autocheckpoint = {max(pages, 1)}")


def _refuse_without_wal(database: Database) -> None:
    if database.wal is None and database.main.read(_READ_VERSION_AT, 1) == _WAL_VERSION:
        raise UsageError("the database is in WAL mode", hint="give the volume of its WAL as well: wal=")


def _refuse_shared(group: Group, given: list[int]) -> None:
    taken = {(main, *open_one.ids) for (other, main), open_one in _by_main.items() if other == group}
    for number in given:
        if any(number in volumes for volumes in taken):
            raise UsageError(
                f"volume {number} is in use by another database", hint="give each database its own volumes"
            )
