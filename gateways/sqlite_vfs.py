"""What SQLite sees: files on volumes, their locks, and errors that it understands.

See https://sqlite.org/c3ref/vfs.html and https://sqlite.org/atomiccommit.html. The order of all writes to all files of
a database is the order of the log, so SQLite is told that writes are sequential (``SQLITE_IOCAP_SEQUENTIAL``) and need
no sync in between. To keep that true, what waits in one file is handed over before anything is written to another.
"""

import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import TracebackType
from typing import Protocol, cast

import apsw

from tidelog.errors import TidelogError
from tidelog.gateways.sqlite_file import VolumeFile, WritableVolume

VFS_NAME = "tidelog"
_SECTOR_BYTES = 4096
_JOURNAL_SUFFIX, _WAL_SUFFIX = "-journal", "-wal"
# What a rollback journal begins with (https://sqlite.org/fileformat.html#the_rollback_journal) until it is over.
_JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")
_DEVICE = apsw.SQLITE_IOCAP_SEQUENTIAL | apsw.SQLITE_IOCAP_SAFE_APPEND | apsw.SQLITE_IOCAP_POWERSAFE_OVERWRITE
_OWN_FILES = apsw.SQLITE_OPEN_MAIN_DB | apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_WAL


class Group(Protocol):
    """The consistency group of a database's volumes. ``flush`` returns when every earlier write is confirmed."""

    def flush(self) -> object: ...


_BOTH: dict[type[TidelogError], type[TidelogError]] = {}


def _both(kind: type[TidelogError]) -> type[TidelogError]:
    """A class that is ``kind`` and `apsw.IOError` as well, under the name of ``kind``."""
    if kind not in _BOTH:
        named = {"__module__": kind.__module__, "__doc__": kind.__doc__}
        _BOTH[kind] = type(kind.__name__, (kind, apsw.IOError), named)
    return _BOTH[kind]


@contextmanager
def _disk_errors() -> Iterator[None]:
    """An error of the group or of a volume becomes an ``SQLITE_IOERR`` as well: after any other code SQLite would go on
    with a page cache that it cannot trust."""
    try:
        yield
    except TidelogError as error:
        if not isinstance(error, apsw.Error):
            error.__class__ = _both(type(error))
        raise


class Database:
    """The files of one database, and who has which lock on them. One for each main volume of a group in this process.

    ``ids`` are those of the volumes of journal and WAL.
    """

    def __init__(
        self,
        name: str,
        group: Group,
        main: WritableVolume,
        journal: WritableVolume,
        wal: WritableVolume | None,
        ids: tuple[int, int | None] = (0, None),
    ) -> None:
        self.name = name
        self.group = group
        self.ids = ids
        self.main = VolumeFile(main)
        self.journal = VolumeFile(journal)
        self.wal = None if wal is None else VolumeFile(wal)
        self.files = [file for file in (self.main, self.journal, self.wal) if file is not None]
        self.mutex = threading.RLock()
        self.locks: dict[int, int] = {}  # id of an open main file -> its SQLITE_LOCK level, never NONE
        self.under_way = False  # whether a transaction's journal was begun here and has not ended

    def file(self, path: str) -> VolumeFile | None:
        """The file of that path, None for one that has no volume."""
        found = {self.name: self.main, self.name + _JOURNAL_SUFFIX: self.journal, self.name + _WAL_SUFFIX: self.wal}
        return found.get(path)

    def settle_others(self, file: VolumeFile) -> None:
        """Hands over what waits in the other files, so that the log has it before what comes in ``file``."""
        for other in self.files:
            if other is not file:
                other.settle()

    def settle(self) -> None:
        """Hands over all that waits."""
        with self.mutex:
            for file in (self.journal, self.wal, self.main):
                if file is not None:
                    file.settle()

    def sync(self) -> None:
        """Everything written to any file is confirmed when this returns."""
        self.settle()
        self.group.flush()


class Connection(apsw.Connection):
    """As apsw has it; but leaving ``with connection:`` raises what the group said, where apsw's own hides it."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        try:
            return super().__exit__(kind, error, trace)
        except apsw.Error as raised:
            if isinstance(raised.__context__, TidelogError):
                raise raised.__context__ from None
            raise


class File:
    """One open file of a database, as SQLite sees it."""

    def __init__(self, database: Database, file: VolumeFile) -> None:
        self._database = database
        self._file = file
        self._is_main, self._is_journal = file is database.main, file is database.journal

    def xRead(self, amount: int, offset: int) -> bytes:
        """Fewer bytes than asked for at the end of the file; apsw fills up with zeros and says so to SQLite."""
        with self._database.mutex, _disk_errors():
            return self._file.read(offset, amount)

    def xWrite(self, data: bytes, offset: int) -> None:
        """Raises `apsw.FullError` where the volume ends."""
        if offset + len(data) > self._file.capacity:
            raise apsw.FullError(f"the volume has room for {self._file.capacity} bytes")
        with self._database.mutex, _disk_errors():
            self._database.settle_others(self._file)
            self._file.write(offset, bytes(data))
            if offset == 0 and self._is_journal:
                self._database.under_way = data[: len(_JOURNAL_MAGIC)] == _JOURNAL_MAGIC

    def xTruncate(self, newsize: int) -> None:
        """A shorter main file gives its room back. Journal and WAL keep it: it is needed again at once."""
        with self._database.mutex, _disk_errors():
            self._database.settle_others(self._file)
            self._file.truncate(newsize, discard=self._is_main)
            if newsize == 0 and self._is_journal:
                self._database.under_way = False

    def xSync(self, flags: int) -> None:  # noqa: ARG002
        """The ack: returns when all writes so far are confirmed in the log. Not so of a main file whose transaction is
        under way: SQLite wants its pages in place before it ends the journal, which the log's order sees to, and the
        journal's end is the commit, which is confirmed. So a commit takes one flush, not two."""
        with _disk_errors():
            if self._is_main and self._database.under_way:
                self._database.settle()
            else:
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

    def xFileControl(self, op: int, ptr: int) -> bool:
        """Nothing is understood; but a database without a volume for its WAL is not put into WAL mode, where nobody
        could open it."""
        if op == apsw.SQLITE_FCNTL_PRAGMA and self._database.wal is None:
            pragma = apsw.VFSFcntlPragma(ptr)
            if pragma.name.lower() == "journal_mode" and (pragma.value or "").strip("'\"").lower() == "wal":
                raise apsw.SQLError("a WAL needs a volume of its own: open the database with wal=")
        return False

    def xSectorSize(self) -> int:
        """Bytes."""
        return _SECTOR_BYTES

    def xDeviceCharacteristics(self) -> int:
        """Writes happen in order, appends before the length, and no write touches its neighbours."""
        return _DEVICE

    def xClose(self) -> None:
        """Hands over what waits (of a journal: when the main file is next written to, or closed); confirms nothing."""
        with self._database.mutex, _disk_errors():
            self._database.locks.pop(id(self), None)
            if self._is_main:
                self._database.settle_others(self._file)
                self._file.settle()


class Vfs(apsw.VFS):
    """Knows the open databases of this process by name. Temporary files go to the system's own file system."""

    def __init__(self) -> None:
        self._databases: weakref.WeakValueDictionary[str, Database] = weakref.WeakValueDictionary()
        self._connecting = threading.local()
        super().__init__(VFS_NAME, base="")

    def connect(self, database: Database) -> apsw.Connection:
        """A new connection; its database is known until its last file is closed."""
        self._databases[database.name] = database
        self._connecting.name = database.name
        try:
            flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
            return Connection(database.name, vfs=VFS_NAME, flags=flags)
        finally:
            self._connecting.name = None

    def xFullPathname(self, name: str) -> str:
        return name

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        if name is None:
            return apsw.VFSFile("", None, flags)
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        if not flags[0] & _OWN_FILES:
            raise apsw.CantOpenError(f"{path}: only a main file, its rollback journal and its WAL live on volumes")
        if flags[0] & apsw.SQLITE_OPEN_MAIN_DB and path != getattr(self._connecting, "name", None):
            raise apsw.CantOpenError(f"{path}: no database is attached to one on volumes: two would not commit as one")
        database, file = self._find(path)
        if database is None or file is None:
            raise apsw.CantOpenError(f"{path}: this file has no volume; see tidelog.gateways.sqlite.database")
        flags[1] = flags[0]
        return cast(apsw.VFSFile, File(database, file))

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: ARG002
        """Deleting the journal is the commit, so it is confirmed at once, whatever ``syncdir`` says."""
        database, file = self._find(filename)
        if database is None or file is None or file is database.main:
            raise apsw.exception_for(apsw.SQLITE_IOERR_DELETE_NOENT)
        with _disk_errors():
            with database.mutex:
                database.settle_others(file)
                file.truncate(0, discard=False)
                database.under_way = database.under_way and file is not database.journal
            database.sync()

    def xAccess(self, pathname: str, flags: int) -> bool:  # noqa: ARG002
        """A file exists if it has a length."""
        _, file = self._find(pathname)
        return file is not None and file.length > 0

    def _find(self, path: str) -> tuple[Database | None, VolumeFile | None]:
        database = self._databases.get(path.removesuffix(_JOURNAL_SUFFIX).removesuffix(_WAL_SUFFIX))
        return database, database.file(path) if database else None


@cache
def vfs() -> Vfs:
    """The one of this process."""
    return Vfs()
