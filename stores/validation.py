"""What an event must be to be applied, checked before any command of it is planned."""

from operator import add

from tidelog.errors import ROLLBACK, LogDiverged, LogGap
from tidelog.schemas.chain import Head
from tidelog.schemas.events import (
    CopyDropped,
    Discard,
    Event,
    VolumeCreated,
    VolumeDeleted,
    VolumeResized,
    WriteBatch,
)
from tidelog.schemas.volumes import VolumeInfo, VolumeTable, impossible_event
from tidelog.stores.copy_changes import refuse_doubtful_drop
from tidelog.stores.state import Image


def validate(event: Event, offset: int, head: Head, image: Image) -> None:
    """Raises `CorruptEvent` for an event that cannot be true of ``image``, `LogGap` or `LogDiverged` for one that is
    not next after ``head``, `LockInDoubt`. What a ``VolumeCopied`` must be, only `tidelog.stores.volume_copy` knows."""
    if event.sequence != head.sequence + 1 or event.previous != head.seal:
        raise LogGap(
            f"{event.kind} {event.sequence} does not follow {head.sequence}",
            sequence=event.sequence,
            offset=offset,
            hint="the reader must go on from the store's position",
        )
    if image.position.step and event.seal != image.position.step_seal:
        raise LogDiverged(
            f"{event.kind} is not the event that this store has applied in part",
            sequence=event.sequence,
            offset=offset,
            hint=f"the log's history changed under it; roll the site back with: {ROLLBACK}",
        )
    if isinstance(event, WriteBatch):
        _validate_batch(event, image.volumes)
    elif isinstance(event, Discard):
        volume = _known(event, event.volume, image.volumes)
        end = event.offset + event.length
        if event.offset < 0 or event.length < 1 or end > volume.size:
            raise impossible_event(
                event, f"discards {event.offset} to {end} of volume {volume.id}, {volume.size} bytes long"
            )
    elif isinstance(event, VolumeCreated | VolumeDeleted | VolumeResized):
        VolumeTable(image.volumes).fold(event)  # on a copy: it raises for what cannot be
    elif isinstance(event, CopyDropped):
        refuse_doubtful_drop(event, image.copies.values(), offset)


def _validate_batch(batch: WriteBatch, table: VolumeTable) -> None:
    volumes, offsets, lengths = batch.volumes, batch.offsets, batch.lengths
    if volumes.count(volumes[0]) == len(volumes):  # all to one volume: at the speed of C
        size = _known(batch, volumes[0], table).size
        if max(map(add, offsets, lengths)) <= size and min(offsets) >= 0 and min(lengths) > 0:
            return
    sizes = {volume: _known(batch, volume, table).size for volume in set(volumes)}
    for volume, offset, length in zip(volumes, offsets, lengths, strict=True):
        if offset < 0 or length < 1 or offset + length > sizes[volume]:
            raise impossible_event(
                batch, f"writes {offset} to {offset + length} of volume {volume}, {sizes[volume]} bytes long"
            )


def _known(event: Event, volume: int, table: VolumeTable) -> VolumeInfo:
    found = table.get(volume)
    if found is None:
        raise impossible_event(event, f"names volume {volume}, which does not exist")
    return found
