"""A replica's connections to its log, kept while only the store is read anew: to open them takes longest."""

from collections.abc import Callable

from tidelog.producers.log import Log, Reader


class LogConnection:
    """Opened when first asked for, and again after `close`. One thread."""

    def __init__(self, open_log: Callable[[], Log]) -> None:
        self._open_log = open_log
        self._log: Log | None = None
        self._reader: Reader | None = None

    def log(self) -> Log:
        """The log. Raises `LogUnavailable`."""
        if self._log is None:
            self._log = self._open_log()
        return self._log

    def reader_at(self, offset: int) -> Reader:
        """Its reader, at ``offset``: whoever had it before must not use it any more. Raises `LogUnavailable`."""
        if self._reader is None:
            self._reader = self.log().reader(offset)
        else:
            self._reader.seek(offset)
        return self._reader

    def close(self) -> None:
        """Ends both."""
        reader, log, self._reader, self._log = self._reader, self._log, None, None
        for opened in (reader, log):
            if opened is not None:
                opened.close()
