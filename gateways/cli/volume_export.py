"""`tidelog volume export`: a volume as a raw file, all of it of one point in time."""

from collections.abc import Iterator
from pathlib import Path

from tidelog.gateways.cli.exit_codes import Torn
from tidelog.gateways.cli.invocation import Invocation
from tidelog.gateways.cli.output import size_text
from tidelog.gateways.cli.progress import byte_bar
from tidelog.gateways.cli.reading import PART_BYTES, copied_volume, opened_copy, opened_store
from tidelog.gateways.files import new_file, write_sparse
from tidelog.producers.follower import Follower
from tidelog.schemas.chain import Head
from tidelog.schemas.events import Discard, Event, VolumeCopied, VolumeDeleted, VolumeResized, WriteBatch
from tidelog.schemas.volumes import VolumeInfo
from tidelog.stores.image import Store
from tidelog.stores.store import HoldKind

_TIMEOUT = 30.0


def export_volume(
    invocation: Invocation, name: str, file: Path, group: str, site: str | None, pitc: str | None
) -> None:
    """Writes the file. Raises `AlreadyExists`; `Torn` if the live volume was written to meanwhile."""
    if pitc is not None:
        with opened_copy(invocation, group, site, pitc, HoldKind.EXPORT) as (source, copy), new_file(file) as target:
            volume = copied_volume(copy, name)
            with byte_bar(invocation, f"exporting {name}", volume.size) as advance:
                write_sparse(target, volume.size, source.stream(volume, copy), advance)
            when, at = f"copy {copy.name} (sequence {copy.sequence})", source.identity.site
    else:
        with opened_store(invocation, group, site) as store, new_file(file) as target:
            live = _Live(store, store.volume(name))
            volume = live.volume
            with byte_bar(invocation, f"exporting {name}", volume.size) as advance:
                write_sparse(target, volume.size, live.parts(), advance)
            _refuse_torn(invocation, group, live)
            when, at = f"sequence {live.last}", store.identity.site
    invocation.say(f"exported volume {name} of group {group} at {at}, {size_text(volume.size)}, as of {when}")


class _Live:
    """A live volume read in parts, and between which positions it was read."""

    def __init__(self, store: Store, volume: VolumeInfo) -> None:
        self._store, self.volume = store, volume
        self.start = store.position().head
        self.last = self.start.sequence

    def parts(self) -> Iterator[bytes]:
        """All bytes, in order."""
        for offset in range(0, self.volume.size, PART_BYTES):
            length = min(PART_BYTES, self.volume.size - offset)
            data, head = self._store.read_live(self.volume, offset, length)
            self.last = head.sequence
            yield data


def _refuse_torn(invocation: Invocation, group: str, live: _Live) -> None:
    """The position moves with every heartbeat; what counts is whether an event in between names the volume."""
    if live.last > live.start.sequence and _named_between(invocation, group, live.volume.id, live.start, live.last):
        raise Torn(
            f"volume {live.volume.name} was written to while it was exported: the file would not be of one point"
            " in time, and was not kept",
            group=group,
            sequence=live.last,
            hint="export a copy with --pitc, or stop the application first",
        )


def _named_between(invocation: Invocation, group: str, volume: int, after: Head, until_sequence: int) -> bool:
    """Whether an event with a sequence above ``after``'s, up to ``until_sequence``, names the volume."""
    cluster = invocation.deployment.cluster
    record = cluster.find_group(group)
    log = cluster.log(record)
    try:
        follower = Follower(log, cluster.codec(record), after)
        reader = log.reader(after.next_offset)
        try:
            for found in reader.records(log.bounds().end, _TIMEOUT):
                event = follower.take(found)
                if event is not None and _names(event, volume):
                    return True
                if follower.head.sequence >= until_sequence:
                    return False
        finally:
            reader.close()
    finally:
        log.close()
    return False


def _names(event: Event, volume: int) -> bool:
    if isinstance(event, WriteBatch):
        return volume in event.volumes
    if isinstance(event, VolumeCopied):
        return volume == event.target
    return isinstance(event, Discard | VolumeResized | VolumeDeleted) and event.volume == volume
