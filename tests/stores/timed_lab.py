"""What the group held at any time, by the model and the bare writes; and whether a site's copies are that."""

from late_lab import LateSite
from store_lab import Author, Model
from store_model import State

from tidelog.schemas.events import WriteBatch
from tidelog.schemas.volumes import VolumeInfo
from tidelog.stores.store import Copy, CopyOrigin

Volumes = dict[int, tuple[VolumeInfo, bytes]]


def moment(author: Author, model: Model, at_us: int) -> tuple[int, bytes, Volumes]:
    """After the last event or write of at most that time: its sequence, the seal of its event, and every volume."""
    model.fold(author.log)
    last = next(event for event, _ in reversed(author.log) if event.first_timestamp_us <= at_us)
    if last.timestamp_us <= at_us or not isinstance(last, WriteBatch):
        return last.last_sequence, last.seal, model.states[last.last_sequence].volumes
    volumes, place, count = dict(model.states[last.sequence - 1].volumes), 0, 0
    for number, offset, length, stamp in zip(last.volumes, last.offsets, last.lengths, last.timestamps_us, strict=True):
        if stamp > at_us:
            break
        info, content = volumes[number]
        written = last.data[place : place + length]
        volumes[number] = info, content[:offset] + written + content[offset + length :]
        place, count = place + length, count + 1
    return last.sequence + count - 1, last.seal, volumes


def expected_of(author: Author, model: Model, copy: Copy) -> tuple[int, bytes, Volumes]:
    """What a copy must be: of a marker, the image at it; of a time, that of the moment."""
    if copy.origin is CopyOrigin.TIME:
        return moment(author, model, copy.timestamp_us)
    model.fold(author.log)
    marker, state, _ = model.copies[copy.sequence]
    return marker.sequence, marker.seal, state.volumes


def check_copies(site: LateSite, author: Author, model: Model) -> None:
    """Every copy that the site lists is, in all its volumes, what it must be."""
    for copy in site.store.copies():
        sequence, seal, volumes = expected_of(author, model, copy)
        assert (copy.sequence, copy.seal) == (sequence, seal), copy
        assert copy.volumes == tuple(info for _, (info, _) in sorted(volumes.items()))
        for info, content in volumes.values():
            assert site.store.read(info, 0, info.size, copy) == content, (copy, info)


def check_live(site: LateSite, author: Author, model: Model) -> None:
    """The live volumes are the image at the site's position, unless an event is half done."""
    model.fold(author.log)
    position = site.store.position()
    if position.step:
        return
    state: State = model.states[position.head.sequence]
    assert {volume.id: volume for volume in site.store.volumes()} == {key: row[0] for key, row in state.volumes.items()}
    for info, content in state.volumes.values():
        assert site.store.read_live(info, 0, info.size) == (content, position.head)
