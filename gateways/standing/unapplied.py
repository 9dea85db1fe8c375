"""Since when a site lacks something that is in the log: a heartbeat says that time passes, and is no loss."""

from tidelog.producers.log import Log
from tidelog.recovery.head import first_change
from tidelog.schemas.codec import Codec
from tidelog.schemas.control import SiteStatus


class Unapplied:
    """Of the sites of one log. Remembers up to where there are heartbeats alone behind a site that stands still, and
    reads each once."""

    def __init__(self) -> None:
        self._idle: dict[str, tuple[bytes, int]] = {}  # by site: the seal that it stands at, and an offset

    def since_us(self, log: Log, codec: Codec, status: SiteStatus) -> int | None:
        """The time of the first change behind the site's reported position; 0 if there is none, None if there is too
        much in front of it that does not count. Behind very many heartbeats the time of the last one that was looked
        at: no change is elder. Raises `LogUnavailable`."""
        seal, offset = self._idle.get(status.site, (b"", 0))
        first = offset if seal == status.seal else status.offset + 1
        event, offset, whole = first_change(log, codec, status, first)
        self._idle[status.site] = status.seal, offset
        if event is None:
            return 0 if whole else None
        return event.first_timestamp_us
