"""SQLite on tidelog volumes: the database file on one volume, its rollback journal on another, SQLite unmodified.

    connection = tidelog.gateways.sqlite.database(group, main=ledger, journal=journal)
    copy = tidelog.gateways.sqlite.open_copy(main=copy_of_ledger, journal=copy_of_journal)

Both volumes belong to one consistency group, so a point-in-time copy holds what a machine would find on its disk after
a power cut at that moment: SQLite rolls back what the journal says, and the database is whole. A commit returns when
all its writes are confirmed in the log (``xSync`` and the deletion of the journal are ``group.flush()``).

The order of all writes to both volumes is the order of the log, so SQLite is told that writes are sequential
(``SQLITE_IOCAP_SEQUENTIAL``) and need no sync in between. To keep that true, what waits in one file is handed over
before anything is written to the other. See https://sqlite.org/c3ref/vfs.html and https://sqlite.org/atomiccommit.html.

Locks are SQLite's five states, kept in a table of this process: other processes cannot write, since a second writer
session fences the first. No WAL (it needs shared memory), no super-journals (a commit over attached databases).
"""

import itertools
import threading
import weakref
from functools import cache
from typing import Protocol, cast

import apsw

from tidelog.errors import UsageError
from tidelog.gateways.sqlite_file import Overlay, ReadableVolume, VolumeFile, WritableVolume

VFS_NAME = "tidelog"
_SECTOR_BYTES = 4096
_JOURNAL_SUFFIX = "-journal"
_DEVICE = apsw.SQLITE_IOCAP_SEQUENTIAL | apsw.SQLITE_IOCAP_SAFE_APPEND | apsw.SQLITE_IOCAP_POWERSAFE_OVERWRITE


class Group(Protocol):
    """The consistency group of both volumes. ``flush`` returns when every earlier write is confirmed."""

    def flush(self) -> object: ...


class GroupVolume(WritableVolume, Protocol):
    """A volume of a group; ``id`` tells it from the group's other volumes."""

    @property
    def id(self) -> int: ...


class _NoGroup:
    """For copies: what is written stays in memory, and there is nothing to confirm."""

    def flush(self) -> None:
        return


class _Database:
    """Two files, and who has which lock on them. One for each main volume of a group in this process."""

    def __init__(
        self, name: str, group: Group, main: WritableVolume, journal: WritableVolume, journal_id: int = 0
    ) -> None:
        self.name = name
        self.group = group
        self.journal_id = journal_id
        self.main = VolumeFile(main)
        self.journal = VolumeFile(journal)
        self.mutex = threading.RLock()
        self.locks: dict[int, int] = {}  # id of an open main file -> its SQLITE_LOCK level, never NONE

    def file(self, path: str) -> VolumeFile | None:
        """The file of that path, None for one that cannot be (a WAL)."""
        if path == self.name:
            return self.main
        return self.journal if path == self.name + _JOURNAL_SUFFIX else None

    def sync(self) -> None:
        """Everything written to either file is confirmed when this returns."""
        with self.mutex:
            self.journal.settle()
            self.main.settle()
        self.group.flush()


class _File:
    """One open file of a database, as SQLite sees it."""

    def __init__(self, database: _Database, file: VolumeFile) -> None:
        self._database = database
        self._file = file
        self._is_main = file is database.main
        self._other = database.journal if self._is_main else database.main

    def xRead(self, amount: int, offset: int) -> bytes:
        """Fewer bytes than asked for at the end of the file; apsw fills up with zeros and says so to SQLite."""
        with self._database.mutex:
            return self._file.read(offset, amount)

    def xWrite(self, data: bytes, offset: int) -> None:
        """Raises `apsw.FullError` where the volume ends."""
        if offset + len(data) > self._file.capacity:
            raise apsw.FullError(f"the volume has room for {self._file.capacity} bytes")
        with self._database.mutex:
            self._other.settle()
            self._file.write(offset, bytes(data))

    def xTruncate(self, newsize: int) -> None:
        """A shorter main file gives its room back. The journal keeps it: it is needed again at once."""
        with self._database.mutex:
            self._other.settle()
            self._file.truncate(newsize, discard=self._is_main)

    def xSync(self, flags: int) -> None:  # noqa: ARG002
        """The ack: returns when all writes so far are confirmed in the log."""
        self._database.sync()

    def xFileSize(self) -> int:
        """Bytes."""
        return self._file.length

    def xLock(self, level: int) -> None:
        """SQLite's rules (https://sqlite.org/lockingv3.html). Raises `apsw.BusyError`."""
        with self._database.mutex:
            locks = self._database.locks
            own = locks.get(id(self), apsw.SQLITE_LOCK_NONE)
            if level <= own:
                return
            strongest_other = max((lock for file, lock in locks.items() if file != id(self)), default=0)
            if level == apsw.SQLITE_LOCK_SHARED:
                free = strongest_other < apsw.SQLITE_LOCK_PENDING
            else:
                free = strongest_other < apsw.SQLITE_LOCK_RESERVED
            if not free:
                raise apsw.BusyError("another connection has the lock")
            if level == apsw.SQLITE_LOCK_EXCLUSIVE and strongest_other > apsw.SQLITE_LOCK_NONE:
                locks[id(self)] = apsw.SQLITE_LOCK_PENDING  # no new readers; wait for those that are there
                raise apsw.BusyError("readers are not done yet")
            locks[id(self)] = level

    def xUnlock(self, level: int) -> None:
        """Down to SHARED or NONE."""
        with self._database.mutex:
            if level == apsw.SQLITE_LOCK_NONE:
                self._database.locks.pop(id(self), None)
            else:
                self._database.locks[id(self)] = level

    def xCheckReservedLock(self) -> bool:
        """Whether any connection is about to write."""
        with self._database.mutex:
            return any(lock >= apsw.SQLITE_LOCK_RESERVED for lock in self._database.locks.values())

    def xFileControl(self, op: int, ptr: int) -> bool:  # noqa: ARG002
        """Nothing is understood."""
        return False

    def xSectorSize(self) -> int:
        """Bytes."""
        return _SECTOR_BYTES

    def xDeviceCharacteristics(self) -> int:
        """Writes happen in order, appends before the length, and no write touches its neighbours."""
        return _DEVICE

    def xClose(self) -> None:
        """Hands over what waits (of a journal: when the main file is next written to, or closed); confirms nothing."""
        with self._database.mutex:
            self._database.locks.pop(id(self), None)
            if self._is_main:
                self._other.settle()
                self._file.settle()


class _Vfs(apsw.VFS):
    """Knows the open databases of this process by name. Temporary files go to the system's own file system."""

    def __init__(self) -> None:
        self._databases: weakref.WeakValueDictionary[str, _Database] = weakref.WeakValueDictionary()
        super().__init__(VFS_NAME, base="")

    def attach(self, database: _Database) -> None:
        """Makes it known until its last file is closed."""
        self._databases[database.name] = database

    def xFullPathname(self, name: str) -> str:
        return name

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        if name is None:
            return apsw.VFSFile("", None, flags)
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        if not flags[0] & (apsw.SQLITE_OPEN_MAIN_DB | apsw.SQLITE_OPEN_MAIN_JOURNAL):
            raise apsw.CantOpenError(f"{path}: only a main file and its rollback journal live on volumes")
        database, file = self._find(path)
        if database is None or file is None:
            raise apsw.CantOpenError(f"{path}: not a database on volumes; see tidelog.gateways.sqlite.database")
        flags[1] = flags[0]
        return cast(apsw.VFSFile, _File(database, file))

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: ARG002
        """Deleting the journal is the commit, so it is confirmed at once, whatever ``syncdir`` says."""
        database, file = self._find(filename)
        if database is None or file is not database.journal:
            raise apsw.exception_for(apsw.SQLITE_IOERR_DELETE_NOENT)
        with database.mutex:
            database.main.settle()
            file.truncate(0, discard=False)
        database.sync()

    def xAccess(self, pathname: str, flags: int) -> bool:  # noqa: ARG002
        """A file exists if it has a length."""
        _, file = self._find(pathname)
        return file is not None and file.length > 0

    def _find(self, path: str) -> tuple[_Database | None, VolumeFile | None]:
        database = self._databases.get(path.removesuffix(_JOURNAL_SUFFIX))
        return database, database.file(path) if database else None


_numbers = itertools.count(1)
_opening = threading.Lock()
_by_main: weakref.WeakValueDictionary[tuple[Group, int], _Database] = weakref.WeakValueDictionary()


@cache
def _vfs() -> _Vfs:
    return _Vfs()


def _connect(database: _Database) -> apsw.Connection:
    _vfs().attach(database)
    return apsw.Connection(database.name, vfs=VFS_NAME, flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE)


def database(group: Group, main: GroupVolume, journal: GroupVolume) -> apsw.Connection:
    """A connection to the SQLite database on two volumes of ``group``; an empty pair is an empty database.

    Further connections of this process (one a thread, say) come from further calls with the same volumes and share
    locks. A commit that returned is in the log. Errors of the group (`Fenced`, `LogUnavailable`) come out of the
    statement that met them, and the transaction's fate is then unknown. Raises `UsageError` if a volume holds
    something else, or serves another database.
    """
    if main.id == journal.id:
        raise UsageError("main file and journal need a volume each")
    with _opening:
        found = _by_main.get((group, main.id))
        if found is None:
            found = _Database(f"volume-{main.id}-{next(_numbers)}", group, main, journal, journal.id)
            _by_main[(group, main.id)] = found
        elif found.journal_id != journal.id:
            raise UsageError(f"volume {main.id} is open with another journal, on volume {found.journal_id}")
    return _connect(found)


def open_copy(main: ReadableVolume, journal: ReadableVolume) -> apsw.Connection:
    """A read-only connection to the database as two copies of one point in time hold it.

    If a transaction was under way there, SQLite rolls it back in an overlay in memory; the copies are not touched.
    Raises `UsageError` if a copy holds something else.
    """
    connection = _connect(_Database(f"copy-{next(_numbers)}", _NoGroup(), Overlay(main), Overlay(journal)))
    connection.execute("PRAGMA query_only = ON")
    return connection
