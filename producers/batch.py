"""Writes on their way into the log."""

from tidelog.schemas.events import WriteBatch

# Tiny writes close a batch by their number, since each costs about 16 bytes of its own in the log.
MAX_WRITES = 4096


class OpenBatch:
    """The write batch that is being filled. Not thread-safe: the session's lock is held around it.

    One list, so that a write is in the batch or not, wherever Ctrl-C falls: five parallel lists could be left with
    unequal lengths. They are made when the batch closes.
    """

    __slots__ = ("sequence", "size", "writes")

    def __init__(self, sequence: int) -> None:
        self.sequence = sequence  # of the first write
        self.writes: list[tuple[int, int, bytes, int]] = []  # volume, offset, data, stamp in UTC microseconds
        self.size = 0  # bytes of data

    def event(self, epoch: int, writer: bytes, previous: bytes) -> WriteBatch:
        """The batch as the event that goes into the log: a structure of arrays."""
        volumes, offsets, data, timestamps_us = zip(*self.writes, strict=True)
        return WriteBatch(
            epoch=epoch,
            writer=writer,
            sequence=self.sequence,
            timestamp_us=timestamps_us[-1],
            previous=previous,
            volumes=list(volumes),
            offsets=list(offsets),
            lengths=list(map(len, data)),
            timestamps_us=list(timestamps_us),
            data=b"".join(data),
        )
