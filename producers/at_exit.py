"""Writer sessions that are open as the interpreter ends are closed in order: a program that just ends has its writes in
the log, and does not look as if it had been killed.

Each is flushed for ``write_timeout`` at most, and once the log is away the others are not waited for. Nothing is done
for a process that is killed, that ends by ``os._exit``, or that was forked: its session is its parent's.
"""

import atexit
import os
import weakref
from contextlib import suppress
from typing import Protocol

from tidelog.errors import LogUnavailable, TidelogError
from tidelog.producers.writing import Writing


class Reporting(Protocol):
    """What reports on a session, and does so a last time as it is closed."""

    @property
    def session(self) -> Writing: ...
    def close(self) -> None: ...


_open: weakref.WeakKeyDictionary[Reporting, int] = weakref.WeakKeyDictionary()  # and the process that it is of


def opened(reports: Reporting) -> None:
    """From now on this session is closed at exit, unless `closed` is called before. It is not kept alive by that."""
    _open[reports] = os.getpid()


def closed(reports: Reporting) -> None:
    """Somebody has closed it."""
    _open.pop(reports, None)


def goes_first() -> None:
    """To be called behind whatever has itself closed at exit, and a session needs to the last, such as kafka-python's
    producers: what is registered last is called first."""
    atexit.unregister(_close_all)
    atexit.register(_close_all)


def _close_all() -> None:
    is_away = False
    for reports, process in list(_open.items()):
        if process != os.getpid():
            continue
        try:
            if is_away:
                reports.session.abandon()
            elif not reports.session.ended:
                reports.session.close()
        except LogUnavailable:
            is_away = True
        except TidelogError:
            pass  # it has ended, and there is nobody left to tell; its report says why
        with suppress(TidelogError):
            reports.close()


goes_first()
