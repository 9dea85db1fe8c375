"""Planted bugs of SQLite on volumes."""

from tests.planted import Mutant

VFS = "gateways/sqlite_vfs.py"
KILLED = "tests/gateways/test_sqlite_killed.py"
LIMITS = "tests/gateways/test_sqlite_limits.py"
LOCKS = "tests/gateways/test_sqlite_locks.py"

SQLITE_MUTANTS = (
    Mutant(
        "a-page-goes-ahead-of-its-journal",
        VFS,
        "            self._database.settle_others(self._file)\n            self._file.write(",
        "            self._file.write(",
        KILLED,
    ),
    Mutant(
        "a-wal-is-confirmed-unwritten", VFS, "(self.journal, self.wal, self.main)", "(self.journal, self.main)", KILLED
    ),
    Mutant(
        "a-pending-writer-lets-readers-in",
        VFS,
        "strongest_other < apsw.SQLITE_LOCK_PENDING",
        "strongest_other < apsw.SQLITE_LOCK_EXCLUSIVE",
        LOCKS,
    ),
    Mutant(
        "a-writer-does-not-wait-for-readers",
        VFS,
        "level == apsw.SQLITE_LOCK_EXCLUSIVE and strongest_other > apsw.SQLITE_LOCK_NONE",
        "level == apsw.SQLITE_LOCK_EXCLUSIVE and strongest_other > apsw.SQLITE_LOCK_SHARED",
        LOCKS,
    ),
    Mutant(
        "pages-without-a-journal-are-not-confirmed",
        VFS,
        "if self._is_main and self._database.under_way",
        "if self._is_main",
        LIMITS,
    ),
    Mutant(
        "a-journals-end-is-not-noticed",
        VFS,
        "                self._database.under_way = False",
        "                pass",
        LIMITS,
    ),
    Mutant("a-lost-session-is-no-disk-error", VFS, "error.__class__ = _both(type(error))", "pass", LIMITS),
    Mutant(
        "a-wal-outgrows-its-volume",
        "gateways/sqlite.py",
        '    connection.execute(f"PRAGMA wal_auto',
        '    (f"PRAGMA wal_auto',
        LIMITS,
    ),
)
