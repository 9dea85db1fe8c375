"""Cutting a copy: a generation with nothing in it begins, whatever the size of the volumes."""

from dataclasses import replace

from tidelog.stores.bitmap import ChangeBitmap
from tidelog.stores.keys import Keys
from tidelog.stores.keyspace import Command
from tidelog.stores.pairs import copied_pairs
from tidelog.stores.records import encode_copy
from tidelog.stores.state import Image
from tidelog.stores.store import Copy, CopyOrigin, CopyState
from tidelog.stores.volume_copy import ReadBitmaps

# Between the numbers of two generations that follow one another: each copy that is slipped in takes the middle, so that
# 24 fit in between wherever each of them goes.
GENERATION_STEP = 1 << 24


def new_generation(image: Image, keys: Keys, copy: Copy, read: ReadBitmaps) -> list[Command]:
    """Begins a generation in the image, that of ``copy``, whose generation, volumes and count are filled in here: what
    was planned before is in the copy, what follows is not. The commands that say so go between the two."""
    volumes = tuple(image.volumes)
    position = image.position
    generation = position.generation + GENERATION_STEP
    count = _blocks_changed(image, read)
    copy = replace(copy, generation=generation, volumes=volumes, blocks_changed=count)
    return [*copied_pairs(image.pairs, generation, keys), *_begin(image, keys, copy)]


def split_generation(image: Image, keys: Keys) -> list[Command]:
    """Begins a generation that is no copy: a late copy can then be slipped in before it. The next cut lets it go.

    It lists the volumes: blocks of those that are deleted meanwhile are its before-images too, and stay for as long as
    the generation does; else nothing would find them."""
    head, position = image.position.head, image.position
    event = head.epoch, head.writer, head.offset, position.cluster_id
    copy = Copy(
        position.generation + GENERATION_STEP,
        head.sequence,
        head.seal,
        "",
        head.timestamp_us,
        tuple(image.volumes),
        0,
        *event,
        state=CopyState.DROPPING,
        origin=CopyOrigin.SPLIT,
    )
    return _begin(image, keys, copy)


def real(copy: Copy) -> bool:
    """Whether somebody asked for this copy, and it is whole, or was; or the present history begins behind it."""
    return copy.origin is not CopyOrigin.SPLIT and copy.state is not CopyState.FORMING


def _begin(image: Image, keys: Keys, copy: Copy) -> list[Command]:
    position = image.position
    image.position = replace(position, generation=copy.generation, layout=position.layout + 1)
    image.copies[copy.generation] = copy
    for volume in image.volumes:
        image.changed[volume.id] = ChangeBitmap()
    return [(b"HSET", keys.copies, b"%d" % copy.generation, encode_copy(copy))]


def _blocks_changed(image: Image, read: ReadBitmaps) -> int:
    """The blocks named since the newest copy that somebody asked for, of the volumes that there are."""
    since: list[int] = []
    for generation in reversed(image.copies):
        since.append(generation)
        if real(image.copies[generation]):
            break
    else:
        since.append(0)
    elder = since[1:]
    count = 0
    for volume in image.volumes:
        named = image.changed[volume.id]
        if elder:
            named = ChangeBitmap(named.bits)
            for bitmap in read(volume.id, elder):
                named.merge(bitmap)
        count += named.count
    return count
