"""What a group's state lets a caller do: the same checks for a writer session and for those who ask without one.

Pure, over a `GroupState`. ``group`` is the name that errors carry.
"""

from dataclasses import dataclass

from tidelog.errors import AlreadyExists, NotFound, OutOfBounds, UsageError
from tidelog.names import LOST, check_name, is_scheduled_name
from tidelog.producers.group_state import GroupState, KnownCopy
from tidelog.schemas.locks import locked_error
from tidelog.schemas.volumes import MAX_BLOCKS, VolumeInfo, valid_block_size, valid_size


@dataclass(frozen=True, slots=True)
class CopyOrder:
    """What to copy onto what, all of one moment. ``copy`` is the source copy's (sequence, seal), None for live."""

    source: VolumeInfo
    target: VolumeInfo
    copy: tuple[int, bytes] | None

    @property
    def copy_sequence(self) -> int:
        """0 for the live source."""
        return self.copy[0] if self.copy else 0


def volume_named(state: GroupState, name: str, group: str) -> VolumeInfo:
    """The volume of that name. Raises `NotFound`."""
    found = state.volumes.named(name)
    if found is None:
        there = ", ".join(sorted(volume.name for volume in state.volumes)) or "none"
        raise NotFound(f"no volume {name!r} (there are: {there})", group=group)
    return found


def volume_to_create(state: GroupState, name: str, size: int, block_size: int, group: str) -> VolumeInfo | None:
    """The volume of that name and those sizes (bytes), if it is there already. Raises `AlreadyExists` if its sizes
    differ, `InvalidName`, `UsageError` for a size or block size that cannot be."""
    check_name("volume", name)
    if not valid_block_size(block_size):
        raise UsageError(f"block size {block_size} of volume {name} is no power of two from 512 to 65536")
    if not valid_size(size, block_size):
        raise OutOfBounds(f"size {size} of volume {name} is not between 1 byte and {MAX_BLOCKS} blocks of {block_size}")
    there = state.volumes.named(name)
    if there is not None and (there.size, there.block_size) != (size, block_size):
        raise AlreadyExists(
            f"volume {name} exists with {there.size} bytes in blocks of {there.block_size}",
            group=group,
            hint="open it with group.volume(name), and change its size with volume.resize(size)",
        )
    return there


def require_size(volume: VolumeInfo, size: int, group: str) -> None:
    """Raises `OutOfBounds` for a size (bytes) that the volume cannot be given."""
    if not valid_size(size, volume.block_size):
        limits = f"1 byte and {MAX_BLOCKS} blocks of {volume.block_size}"
        raise OutOfBounds(f"size {size} of volume {volume.name} is not between {limits}", group=group)


def copy_named(state: GroupState, name: str, group: str) -> KnownCopy:
    """The newest copy of that name. Raises `NotFound`."""
    copy = state.copy(name)
    if copy is None:
        raise NotFound(
            f"no copy {name!r} by marker",
            group=group,
            hint="tidelog pitc list shows those that there are; one by time, or archived, goes onto a volume with"
            " Volume.copy_from",
        )
    return copy


def copy_to_drop(state: GroupState, name: str, judged_at_us: int, group: str) -> KnownCopy:
    """The newest copy of that name, if its lock has ended by then (UTC microseconds). Raises `NotFound`, `Locked`."""
    copy = copy_named(state, name, group)
    if copy.locked_until_us > judged_at_us:
        raise locked_error(copy.name, copy.locked_until_us, group)
    return copy


def copy_to_lock(state: GroupState, name: str, until_us: int, group: str) -> KnownCopy:
    """The newest copy of that name, if no longer lock is there. Raises `NotFound`, `Locked`."""
    copy = copy_named(state, name, group)
    if until_us < copy.locked_until_us:
        raise locked_error(copy.name, copy.locked_until_us, group)
    return copy


def check_copy_name(name: str) -> None:
    """Raises unless people may give that name to a copy: `InvalidName`, `UsageError` for one of the schedule's, or one
    that a roll back gives."""
    check_name("copy", name)
    if is_scheduled_name(name):
        raise UsageError(f"{name!r} is a name that the schedule gives", hint="retention would drop such a copy")
    if name.startswith(LOST):
        raise UsageError(f"{name!r} is a name that a roll back gives", hint=f"not one that begins with {LOST!r}")


def require_new_copy(state: GroupState, name: str, group: str) -> None:
    """Raises unless no copy by marker has that name, and it may be given: `AlreadyExists` and as `check_copy_name`."""
    check_copy_name(name)
    if state.copy(name) is not None:
        raise AlreadyExists(f"copy {name!r} exists", group=group, hint="choose another name, or drop it")


def copy_order(state: GroupState, source: str, target: str, copy: str | None, group: str) -> CopyOrder:
    """A copy onto a volume, live or from a copy, if it can be. Raises `NotFound`, `UsageError`."""
    from_info, to_info = volume_named(state, source, group), volume_named(state, target, group)
    identity = None
    if copy is not None:
        known = copy_named(state, copy, group)
        identity = (known.sequence, known.seal)
        held = next((info for info in known.volumes if info.id == from_info.id), None)
        if held is None:
            raise NotFound(
                f"copy {copy} does not hold volume {source}",
                group=group,
                hint="a volume that was made anew since is another one; read the old one from the copy",
            )
        from_info = held
    if copy is None and from_info.id == to_info.id:
        raise UsageError(f"volume {source} onto itself", group=group, hint="name the copy to restore it to")
    if from_info.block_size != to_info.block_size:
        raise UsageError(
            f"volume {source} has blocks of {from_info.block_size} bytes, volume {target} of {to_info.block_size}",
            group=group,
            hint="copy to a volume with the same block size",
        )
    require_room(source, from_info.size, to_info, group)
    return CopyOrder(from_info, to_info, identity)


def require_room(source: str, size: int, target: VolumeInfo, group: str) -> None:
    """Raises `UsageError` unless ``size`` bytes of volume ``source`` fit into the target."""
    if size > target.size:
        raise UsageError(
            f"{size} bytes of volume {source} do not fit into the {target.size} of volume {target.name}",
            group=group,
            hint="nothing was written; grow it first, with volume.resize(size)",
        )
