"""A folder of sidefiles: one that a group's writer fills or has left, and those that are kept for people."""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tidelog.clock import utc, wall_us
from tidelog.errors import ConfigError, SidefileDamaged, SidefileFull
from tidelog.producers.locked_file import rename
from tidelog.producers.sidefile import KEPT, Entry, Sidefile
from tidelog.schemas.codec import Codec
from tidelog.schemas.events import Discard, Marker, WriteBatch

SUFFIX = ".sidefile"
KEPT_PREFIX = "lost-"
# Of what a session had sent, this is drained. Its caller was told of anything else that it is unknown.
DRAINED = (WriteBatch, Discard, Marker)


@dataclass(frozen=True, slots=True)
class Summary:
    """What stands in a sidefile: ``writes`` (a discard is one) from ``since_us`` to ``until_us``, of which ``in_log``
    are known to be in the log; ``problem`` is why it cannot be read to its end."""

    path: Path
    group: str
    epoch: int
    base_sequence: int
    writes: int
    bytes: int
    since_us: int
    until_us: int
    kept_because: str
    in_log: int
    problem: str

    @property
    def kept(self) -> bool:
        """Whether it was set aside: no writer takes it up any more."""
        return self.path.name != f"{self.group}{SUFFIX}"


def active_path(folder: Path, group: str) -> Path:
    """Where the sidefile of a group's writer stands."""
    return folder / f"{group}{SUFFIX}"


def check_folder(folder: Path, group: str) -> None:
    """Raises `ConfigError` unless files can be made in the folder."""
    hint = f"groups.{group}.sidefile names a folder of this machine that the writer may write to"
    probe = folder / f".{group}.{os.getpid()}.probe"
    try:
        os.close(os.open(probe, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        probe.unlink()
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigError(f"there is no folder {folder} for sidefiles", hint=hint) from None
    except OSError as error:
        raise ConfigError(f"no sidefile can be made in {folder}: {error.strerror}", hint=hint) from None


def drained(entry: Entry) -> bool:
    """Whether a record goes into the log when its file is drained."""
    return entry.kind != KEPT and isinstance(entry.event, DRAINED)


def set_aside(sidefile: Sidefile, because: str, in_log: int) -> Path:
    """Renames a sidefile so that no writer takes it up, with the reason inside, and up to which byte it is in the log,
    if the disk has room for that; its new path. It is let go of."""
    target = kept_path(sidefile.path, sidefile.header.group, sidefile.header.base.epoch)
    if sidefile.damage is None:
        with suppress(SidefileFull, SidefileDamaged):  # without its reason, then
            sidefile.note(because=because, in_log=in_log)
    rename(sidefile.path, target)
    sidefile.close()
    return target


def kept_path(path: Path, group: str, epoch: int) -> Path:
    """A name under which a sidefile is kept."""
    moment = utc(wall_us()).strftime("%Y%m%dt%H%M%S%f")
    return path.with_name(f"{KEPT_PREFIX}{group}-{epoch}-{moment}z{SUFFIX}")


def summary(path: Path, codec: Codec) -> Summary | None:
    """What stands in the file, as far as it can be read; None if there is none, or it holds nothing. Raises
    `SidefileDamaged` if not even its header can be read, `OSError`."""
    sidefile = Sidefile.open(path, codec, looking=True, whole=False)
    if sidefile is None:
        return None
    writes, in_log, since_us, until_us, because = 0, 0, 0, 0, ""
    try:
        entries = list_writes(sidefile)
        until_byte, because = noted(sidefile)
        for entry, count in entries:
            assert entry.event is not None
            writes += count
            in_log += count if entry.after.position <= until_byte else 0
            since_us = since_us or entry.event.first_timestamp_us
            until_us = entry.event.timestamp_us
    finally:
        sidefile.close()
    head, group = sidefile.header.base, sidefile.header.group
    problem = "" if sidefile.damage is None else sidefile.damage.message
    return Summary(
        path, group, head.epoch, head.sequence, writes, sidefile.size, since_us, until_us, because, in_log, problem
    )


def list_writes(sidefile: Sidefile) -> Iterator[tuple[Entry, int]]:
    """Each record that is to be drained, and how many writes it is."""
    for entry in sidefile.entries():
        if drained(entry):
            yield entry, len(entry.event.lengths) if isinstance(entry.event, WriteBatch) else 1


def noted(sidefile: Sidefile) -> tuple[int, str]:
    """Up to which byte a kept sidefile is in the log, and why it is kept; 0 and nothing where it does not say."""
    notes = [entry.note for entry in sidefile.entries() if entry.note is not None]
    return (int(notes[-1].get("in_log", 0)), str(notes[-1].get("because", ""))) if notes else (0, "")


def paths(folder: Path, group: str) -> Iterator[Path]:
    """Every file of a folder that may be a sidefile of a group, the writer's first."""
    active = active_path(folder, group)
    if active.exists():
        yield active
    yield from sorted(folder.glob(f"{KEPT_PREFIX}{group}-*{SUFFIX}"))
