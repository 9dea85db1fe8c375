"""What creating, growing and deleting a volume does to the tables; its blocks are no matter of these events."""

from tidelog.schemas.events import VolumeCreated, VolumeDeleted, VolumeResized
from tidelog.stores.bitmap import ChangeBitmap
from tidelog.stores.keys import Keys
from tidelog.stores.keyspace import Command
from tidelog.stores.records import encode_volume
from tidelog.stores.state import Image


def changed_tables(image: Image, keys: Keys, event: VolumeCreated | VolumeDeleted | VolumeResized) -> list[Command]:
    """Folds the event into the image; the commands that do the same to the store."""
    number = event.sequence if isinstance(event, VolumeCreated) else event.volume
    before = image.volumes.get(number)
    image.volumes.fold(event)
    field = b"%d" % number
    after = image.volumes.get(number)
    if after is not None:
        image.changed.setdefault(number, ChangeBitmap())
        image.named.setdefault(number, ChangeBitmap())
        commands: list[Command] = [(b"HSET", keys.volumes, field, encode_volume(after))]
        if image.deleted.pop(number, None) is not None:  # of a lost history, with the same sequence
            commands.append((b"HDEL", keys.deleted, field))
        return commands
    assert before is not None, "validated before it was planned"
    image.deleted[number] = before
    del image.changed[number], image.named[number]
    commands = [(b"HDEL", keys.volumes, field), (b"HSET", keys.deleted, field, encode_volume(before))]
    for pair in [pair for pair in image.pairs if number in pair]:
        del image.pairs[pair]
        commands += [(b"HDEL", keys.pairs, keys.pair_field(*pair)), (b"DEL", keys.pair_bitmap(*pair))]
    return commands
