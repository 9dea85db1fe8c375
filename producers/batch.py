"""Writes on their way into the log."""

from tidelog.schemas.events import WriteBatch

# Tiny writes close a batch by their number, since each costs about 16 bytes of its own in the log.
MAX_WRITES = 4096


class OpenBatch:
    """The write batch that is being filled. Not thread-safe: the session's lock is held around it.

    Parallel lists, because the per-write cost decides the speed of small writes (notes: structure of arrays).
    """

    __slots__ = ("data", "lengths", "offsets", "sequence", "size", "timestamps_us", "volumes")

    def __init__(self, sequence: int) -> None:
        self.sequence = sequence  # of the first write
        self.volumes: list[int] = []
        self.offsets: list[int] = []
        self.lengths: list[int] = []
        self.timestamps_us: list[int] = []
        self.data: list[bytes] = []
        self.size = 0  # bytes of data

    def event(self, epoch: int, writer: bytes, previous: bytes) -> WriteBatch:
        """The batch as the event that goes into the log."""
        return WriteBatch(
            epoch=epoch,
            writer=writer,
            sequence=self.sequence,
            timestamp_us=self.timestamps_us[-1],
            previous=previous,
            volumes=self.volumes,
            offsets=self.offsets,
            lengths=self.lengths,
            timestamps_us=self.timestamps_us,
            data=b"".join(self.data),
        )
