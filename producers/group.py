"""A consistency group, open for writing."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self

from tidelog.clock import iso, utc
from tidelog.config_tables import KeepConfig
from tidelog.errors import CopiesDiffer, LogUnavailable, SiteBehind, TidelogError, UsageError
from tidelog.names import check_name
from tidelog.producers.applied import await_applied, check_sites
from tidelog.producers.archived import archived_copies, require_free_name
from tidelog.producers.control import Control, ControlView
from tidelog.producers.durability import Durability
from tidelog.producers.lock_time import lock_end_us, lock_time_us
from tidelog.producers.pacing import PacedVolume, Pacing
from tidelog.producers.retention import Decision, archived_first, plan_retention
from tidelog.producers.rules import (
    copy_named,
    copy_to_drop,
    copy_to_lock,
    require_new_copy,
    volume_named,
    volume_to_create,
)
from tidelog.producers.volume import ReadSide, Volume
from tidelog.producers.volume_copy import VolumeCopy, copy_volume
from tidelog.producers.writing import Writing
from tidelog.schemas.control import CopyFormed, copy_key
from tidelog.schemas.events import CopyDropped, CopyKept, CopyLocked, Event, Marker, VolumeCreated, VolumeDeleted
from tidelog.schemas.volumes import DEFAULT_BLOCK_SIZE
from tidelog.units import parse_size

# Seconds that a new copy waits for the control topic, to hear whether its name is an archived one's.
NAME_TIMEOUT = 2.0


class MarkedCopy:
    """A copy that a marker of this session orders at every site. Its identity is (group, ``sequence``, ``seal``)."""

    def __init__(self, group: str, name: str, marker: Event, control: Control, sites: Sequence[str]) -> None:
        self.group, self.name, self._sites = group, name, sites
        self.sequence, self.seal, self.timestamp_us = marker.sequence, marker.seal, marker.timestamp_us
        self._control = control

    def __repr__(self) -> str:
        return f"<copy {self.name!r} of {self.group} at sequence {self.sequence}, {iso(self.timestamp_us)}>"

    def receipts(self) -> dict[str, CopyFormed]:
        """What sites have answered so far, by site."""
        return self._matching(self._control.snapshot())

    def wait(self, sites: Sequence[str] | None = None, timeout: float = 30.0) -> dict[str, CopyFormed]:
        """Waits until every one of ``sites`` (default: all configured) has formed this copy; their receipts, by site.

        Raises `SiteBehind` after ``timeout`` seconds, naming who has not answered, and `CopiesDiffer` if the digests
        are not all equal.
        """
        if isinstance(sites, str):
            raise UsageError(f"sites is a list of names, such as [{sites!r}]")
        sites = self._sites if sites is None else sites
        wanted = set(sites)
        arrived = self._control.wait_for(lambda view: wanted <= self._matching(view).keys(), timeout)
        receipts = self.receipts()
        if not arrived and not wanted <= receipts.keys():
            missing = ", ".join(sorted(wanted - receipts.keys()))
            raise SiteBehind(
                f"no receipt for copy {self.name} from {missing} within {timeout:g} s",
                group=self.group,
                sequence=self.sequence,
                hint=f"has a worker of {' or '.join(sorted(wanted - receipts.keys()))} ever run? see: tidelog status",
            )
        digests = {receipt.digest for receipt in receipts.values()}
        if len(digests) > 1:
            told = ", ".join(f"{site} {receipt.digest.hex()}" for site, receipt in sorted(receipts.items()))
            raise CopiesDiffer(f"copy {self.name} is not the same at every site: {told}", group=self.group)
        return {site: receipts[site] for site in sites}

    def _matching(self, view: ControlView) -> dict[str, CopyFormed]:
        prefix = copy_key(self.group, self.sequence, self.name, "")
        found = (record for key, record in view.items() if key.startswith(prefix))
        return {r.site: r for r in found if isinstance(r, CopyFormed) and r.seal == self.seal}


class Group:
    """A consistency group with its one writer session. Thread-safe. Made by `tidelog.open_group`; close it, or use it
    as a context manager: leaving it flushes."""

    def __init__(
        self,
        name: str,
        session: Writing,
        read_side: ReadSide,
        control: Control,
        batch_bytes: int,
        sites: Sequence[str],
        closing: Sequence[Callable[[], None]],
        pacing: Pacing | None = None,
    ) -> None:
        self.name = name
        self.session = session
        self.read_side = read_side
        self.batch_bytes = batch_bytes
        self._control, self._sites = control, sites
        self.pacing = pacing
        self._volume_type = Volume if pacing is None else PacedVolume
        self._closing = closing  # what ends with the group, in this order

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # What went wrong inside the block is what its caller must see, not what that does to the flush.
        with suppress(*([] if error is None else [TidelogError])):
            self.close()

    def close(self) -> None:
        """Flushes, ends the writer session and lets go of the site. Raises what the flush raises, and `Fenced` or
        `LogUnavailable` if the session ended earlier with something unconfirmed."""
        try:
            self.session.close()
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Ends without flushing: what was not confirmed may or may not be in the log."""
        self.session.abandon()
        closing, self._closing = self._closing, ()
        for close in closing:
            close()

    def create_volume(self, name: str, size: int | str, block_size: int = DEFAULT_BLOCK_SIZE) -> Volume:
        """A new volume of ``size`` bytes (or ``"1GiB"``), thin: unwritten blocks read as zeros and take no room.

        A volume of that name with the same sizes is given back as it is. Raises `AlreadyExists` if its sizes differ,
        `InvalidName`, `UsageError` for a size or block size that cannot be.
        """
        check_name("volume", name)
        size = parse_size(size)
        with self.session.order:
            there = volume_to_create(self.session.state, name, size, block_size, self.name)
            if there is not None:
                return self._volume_type(self, there.id)
            event = self.session.emit(VolumeCreated, name=name, size=size, block_size=block_size)
        self.session.flush()
        return self._volume_type(self, event.sequence)

    def volume(self, name: str) -> Volume:
        """The volume of that name. Raises `NotFound`."""
        return self._volume_type(self, volume_named(self.session.state, name, self.name).id)

    def volumes(self) -> Iterator[Volume]:
        """Every volume, in the order in which they were created."""
        return (self._volume_type(self, info.id) for info in tuple(self.session.state.volumes))

    def delete_volume(self, name: str) -> None:
        """Takes a volume out of the group; copies that hold it keep it. Raises `NotFound`."""
        with self.session.order:
            volume = self.volume(name)
            self.session.emit(VolumeDeleted, volume=volume.id)
        self.session.flush()

    def copy_volume(self, source: str, target: str, copy: str | None = None) -> VolumeCopy:
        """Makes one volume the same as another, live or as it was in a copy: a command in the log, durable when this
        returns, that every site carries out on its own blocks, in order with the writes before and after it.

        What of the target lies behind the source's end becomes zeros. The first copy between two volumes brings what
        was ever written to either, each later one what has changed since. Raises `NotFound`, `UsageError` (other block
        size, smaller target, a volume onto itself), `SiteBehind` if the site that this group reads from does not come
        to the last write within 30 s, `LogDiverged` if it has another history, `CopyMissing` if it lacks the copy,
        `Fenced`, `LogUnavailable`.
        """
        return copy_volume(self, source, target, copy)

    def restore_volume(self, name: str, copy: str) -> VolumeCopy:
        """Makes a volume what it was in a copy, at every site: `copy_volume` from its own past. Raises as that does."""
        return copy_volume(self, name, name, copy)

    def flush(
        self, *, applied_at: int = 0, sites: Sequence[str] | None = None, timeout: float = 30.0, in_log: bool = False
    ) -> Durability:
        """Returns when every earlier write is confirmed in the log: that is the acknowledgement. With ``applied_at``,
        when so many of ``sites`` (default: all configured) have reported besides that they have applied all of it.

        Where the group is configured with a sidefile, and Kafka is away, it returns `Durability.IN_SIDEFILE`: what was
        written is on this machine's disk, and nowhere else. With ``in_log`` (or ``applied_at``) it waits for the log.

        Raises `Fenced` or `LogUnavailable`: what was not confirmed may or may not be in the log; `SiteBehind` after
        ``timeout`` seconds, with where each site is: all of it is in the log, and sites will apply it. A Redis that
        loses its tail afterwards takes the site's word back: it applies that again from the log. Raises `UsageError`
        for a number of sites that there are not; then nothing was flushed.
        """
        if not applied_at and sites is None:
            return self._settle(in_log=in_log)
        asked = check_sites(applied_at, sites, self._sites)
        self._settle(in_log=True)
        target, session = self.session.flush(), self.session
        await_applied(self.name, session.log, self._control, target, applied_at, asked, timeout)
        return Durability.IN_LOG

    def _settle(self, *, in_log: bool) -> Durability:  # noqa: ARG002 (there is nothing else here)
        self.session.flush()
        return Durability.IN_LOG

    def mark(self, name: str) -> MarkedCopy:
        """Puts a consistency marker behind every earlier write, durable when this returns: each site cuts a
        point-in-time copy of the whole group exactly there.

        Raises `InvalidName`, `AlreadyExists` if a copy of that name is there, archived or ordered by time (as far as
        the control topic answers), `UsageError` for a name of the schedule's (``auto-20261125t180000z``), `Fenced`,
        `LogUnavailable`.
        """
        with suppress(LogUnavailable):  # a copy is cut without the control topic: then the name is on the caller
            require_free_name(self._control.snapshot(NAME_TIMEOUT), name, self.name)
        with self.session.order:
            require_new_copy(self.session.state, name, self.name)
            marker = self.session.emit(Marker, name=name)
        self.session.flush()
        return MarkedCopy(self.name, name, marker, self._control, self._sites)

    def drop_copy(self, name: str) -> None:
        """Drops the copy of that name at every site, by an event in the log. Raises `NotFound`, `Locked`."""
        judged_at_us = self._lock_time_us()
        with self.session.order:
            copy = copy_to_drop(self.session.state, name, judged_at_us, self.name)
            self.session.emit(CopyDropped, copy_sequence=copy.sequence, copy_seal=copy.seal)
        self.session.flush()

    def lock_copy(self, name: str, until: datetime | timedelta) -> datetime:
        """Locks the copy of that name at every site: nothing drops it before ``until``, a time with its offset to UTC,
        or so long from the log's time now. The end of the lock is given back, in UTC.

        A lock can be extended and never shortened or lifted. Raises `NotFound`, `Locked` if a longer one is there,
        `UsageError` for a time that has passed, says no offset, or lies more than a hundred years ahead.
        """
        with self.session.order:
            end = lock_end_us(until, self.session.time_us)
            copy = copy_to_lock(self.session.state, name, end, self.name)
            self.session.emit(CopyLocked, copy_sequence=copy.sequence, copy_seal=copy.seal, until_us=end)
        self.session.flush()
        return utc(end)

    def keep_copy(self, name: str, *, kept: bool = True) -> None:
        """Exempts the copy of that name from retention, or with ``kept=False`` no longer. Raises `NotFound`."""
        with self.session.order:
            copy = copy_named(self.session.state, name, self.name)
            self.session.emit(CopyKept, copy_sequence=copy.sequence, copy_seal=copy.seal, kept=kept)
        self.session.flush()

    def apply_retention(self, keep: KeepConfig, *, archived_only: bool = False) -> list[Decision]:
        """Drops what ``keep`` does not keep, at every site (with ``archived_only`` those of them that a site has
        archived); the decision about each copy, oldest first."""
        judged_at_us = self._lock_time_us()
        archived = archived_copies(self._control.snapshot(), self.name) if archived_only else None
        with self.session.order:
            decisions = plan_retention(self.session.state.copies(), keep, judged_at_us)
            if archived is not None:
                decisions = archived_first(decisions, archived)
            for copy in (decision.copy for decision in decisions if decision.dropped):
                self.session.emit(CopyDropped, copy_sequence=copy.sequence, copy_seal=copy.seal)
        self.session.flush()
        return decisions

    def _lock_time_us(self) -> int:
        return lock_time_us(self.session.time_us, self.name, self._control)
