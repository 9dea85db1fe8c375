"""The end of a log, looked at again and again."""

from tidelog.producers.follower import Follower, follow
from tidelog.producers.log import Log
from tidelog.recovery.head import FOLD_TIMEOUT
from tidelog.schemas.chain import Head
from tidelog.schemas.codec import Codec


class Tail:
    """The head of a log, folded further from a known one each time that it is asked for."""

    def __init__(self, log: Log, codec: Codec, head: Head) -> None:
        self._log, self._follower = log, Follower(log, codec, head)
        self._reader = log.reader(max(head.next_offset, log.bounds().start))

    def head(self) -> Head:
        """The last event that counts now. Raises what `Follower.take` does, `LogUnavailable`."""
        for _ in follow(self._reader, self._log.bounds().end, self._follower, FOLD_TIMEOUT):
            pass
        return self._follower.head

    def close(self) -> None:
        """Ends the reader."""
        self._reader.close()
