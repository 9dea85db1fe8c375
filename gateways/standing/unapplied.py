"""Since when a site lacks something that is in the log: a heartbeat says that time passes, and is no loss."""

from tidelog.producers.log import Log
from tidelog.recovery.head import first_change
from tidelog.schemas.codec import Codec
from tidelog.schemas.control import SiteStatus


class Unapplied:
    """Of the sites of one log. Remembers up to where there are heartbeats alone behind a site that stands still, and
    reads each once, for as long as one writer session goes on: a log that has lost its end has another one."""

    def __init__(self) -> None:
        self._idle: dict[str, tuple[bytes, int, int]] = {}  # by site: its seal, the log's epoch, and an offset

    def since_us(self, log: Log, codec: Codec, status: SiteStatus, epoch: int) -> int | None:
        """The time of the first change behind the site's reported position, in a log whose newest event is of
        ``epoch``; 0 if there is none, None if there is too much in front of it that does not count. Behind very many
        heartbeats the time of the last one that was looked at: no change is elder. Raises `LogUnavailable`."""
        *of, offset = self._idle.get(status.site, (b"", 0, 0))
        first = offset if of == [status.seal, epoch] else status.offset + 1
        found = first_change(log, codec, status, first)
        self._idle[status.site] = status.seal, epoch, found.end
        if found.event is None:
            return 0 if found.whole else None
        return found.event.first_timestamp_us
