"""What a writer accepts while the log is away: checked and ordered as ever, kept in a sidefile."""

from pathlib import Path

from tidelog.clock import HybridClock
from tidelog.errors import SidefileFull
from tidelog.producers.batch import MAX_WRITES, OpenBatch
from tidelog.producers.extents import out_of_bounds
from tidelog.producers.resumable_session import Left, ResumableSession
from tidelog.producers.sidefile import RECORD_OVERHEAD, SENT, SPOOLED, Sidefile
from tidelog.schemas.codec import Codec
from tidelog.schemas.events import Discard, VolumeCopied, VolumeCreated, VolumeDeleted, VolumeResized

# What a write takes in a record besides its data, at most; and what a record takes besides its writes.
_WRITE_OVERHEAD = 48
_EVENT_OVERHEAD = 256 + RECORD_OVERHEAD
# Unknown whether they are in the log: then it is unknown which volumes there are, or what is in them.
_DOUBTFUL = (VolumeCreated, VolumeResized, VolumeDeleted, VolumeCopied)


class Spool:
    """Takes writes and discards behind what an ended session had left. The caller holds the order.

    Reads lay everything since the last confirmed event over a site's data, whatever of it the site has: own writes
    laid again, in order, change nothing.
    """

    def __init__(
        self,
        sidefile: Sidefile,
        codec: Codec,
        left: Left,
        ended: ResumableSession,
        batch_bytes: int,
        size: int,
        clock: HybridClock,
    ) -> None:
        self.sidefile, self.batch, self.base = sidefile, left.batch, left.confirmed
        self._codec, self._batch_bytes, self._size, self._clock = codec, batch_bytes, size, clock
        self._volumes = ended.state.volumes
        self.overlay = ended.overlay
        self.overlay.prune_limit = self.base.sequence
        self.doubtful = next((event.kind for event in left.events if isinstance(event, _DOUBTFUL)), "")
        for event in left.events:
            sidefile.append(SENT, codec.encode(event)[0])

    @property
    def path(self) -> Path:
        """The sidefile."""
        return self.sidefile.path

    def write(self, volume: int, offset: int, data: bytes) -> None:
        """See `WriterSession.write`. Raises `SidefileFull`; then nothing was taken."""
        info = self._volumes.get(volume)
        if info is None or offset < 0 or not data or offset + len(data) > info.size:
            raise out_of_bounds(info, "write", offset, len(data))
        self._require_room(len(data) + _WRITE_OVERHEAD)
        if self.batch.size + len(data) > self._batch_bytes or len(self.batch.writes) >= MAX_WRITES:
            self.close_batch()
        self.batch.writes.append((volume, offset, data, self._clock.stamp()))
        self.batch.size += len(data)

    def discard(self, volume: int, offset: int, length: int) -> Discard:
        """A discard behind all writes. Raises as `write`."""
        self._require_room(_EVENT_OVERHEAD)
        self.close_batch()
        sequence = self.batch.sequence
        event = Discard(
            epoch=self.base.epoch,
            writer=bytes(16),
            sequence=sequence,
            timestamp_us=self._clock.stamp(),
            previous=bytes(16),
            volume=volume,
            offset=offset,
            length=length,
        )
        self.sidefile.append(SPOOLED, self._codec.encode(event)[0])
        self.overlay.add_zeros(volume, sequence, offset, length)
        self.batch = OpenBatch(sequence + 1)
        return event

    def close_batch(self) -> None:
        """Puts the open batch into the file. Raises `SidefileFull` if the disk is full; then it is open as before."""
        batch = self.batch
        if batch.writes:
            event = batch.event(self.base.epoch, bytes(16), bytes(16))
            self.sidefile.append(SPOOLED, self._codec.encode(event)[0])
            self.overlay.add_batch(batch)
            self.batch = OpenBatch(batch.sequence + len(batch.writes))

    def sync(self) -> None:
        """Everything taken is on disk when this returns. Raises `SidefileFull`, as `close_batch`."""
        self.close_batch()
        self.sidefile.sync()

    def patch(self, volume: int, offset: int, data: bytearray, after: int) -> bool:
        """See `Overlay.patch`; False while it is unknown what volumes there are."""
        if self.doubtful:
            return False
        return self.overlay.patch(volume, offset, data, min(after, self.base.sequence), self.batch)

    def _require_room(self, more: int) -> None:
        waiting = self.batch.size + _WRITE_OVERHEAD * len(self.batch.writes) + _EVENT_OVERHEAD
        if self.sidefile.size + waiting + more > self._size:
            raise SidefileFull(
                f"the sidefile {self.path} has {self.sidefile.size} bytes of at most {self._size}",
                hint="nothing of this write was taken; groups.NAME.sidefile_size and sidefile_full say what then",
            )
