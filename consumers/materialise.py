"""Any point in time: a group as it was, at one site, from a copy that the site holds and the log (DESIGN section 9).

What comes of it is a clone (`tidelog.stores.clone_fill`), apart from the fold: replication goes on, and the site's
worker has no part in it. Cut short, the same call goes on where it was.
"""

import time
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace

from tidelog.consumers.deployment import Deployment
from tidelog.consumers.late_events import LogEvents
from tidelog.consumers.moments import find_start
from tidelog.errors import (
    AlreadyExists,
    CorruptEvent,
    LogDiverged,
    LogGap,
    LogUnavailable,
    NotFound,
    OutOfWindow,
    TidelogError,
    UnsupportedEvent,
)
from tidelog.names import check_name
from tidelog.schemas.chain import Head
from tidelog.schemas.events import Event, VolumeCopied, WriteBatch
from tidelog.stores.clone_fill import CloneFill
from tidelog.stores.image import Store
from tidelog.stores.placing import placed
from tidelog.stores.state import Image
from tidelog.stores.store import NOTHING, Clone, Copy, CopyOrigin, HoldKind, Moment, Position
from tidelog.stores.timed import part
from tidelog.stores.validation import validate

# How long nothing may come of a log that was seen to have more.
STALL = 30.0
# How long one wait for events is.
IDLE = 0.05
_TRIES = 3
# What giving the call again would not mend.
IMPOSSIBLE = (OutOfWindow, CorruptEvent, UnsupportedEvent, LogGap, LogDiverged)

# Told of the sequence that was begun from, the one reached, and the one to reach (0: not known before it is there).
Advance = Callable[[int, int, int], None]


def materialise(
    deployment: Deployment, store: Store, name: str, moment: Moment, advance: Advance = lambda *_: None
) -> Clone:
    """The group of ``store`` as it was at ``moment``, as a clone of that name at that site: exactly the events and
    writes that the moment covers.

    Of a clone of that name and moment that was cut short, or that another process is at, this goes on, and the other
    ends. One that turns out to be impossible is dropped.

    Raises `OutOfWindow`; `AlreadyExists` for a name; `InvalidName`; `NotFound` if it is dropped meanwhile;
    `SiteBehind` while the site is rebuilt; `LogUnavailable`, `StoreUnavailable`: give the call again.
    """
    with placed(store.identity):
        return _materialise(deployment, store, name, moment, advance)


def _materialise(deployment: Deployment, store: Store, name: str, moment: Moment, advance: Advance) -> Clone:
    who, cluster = store.identity, deployment.cluster
    record = cluster.find_group(who.group)
    codec = cluster.codec(record)
    clone = forming_clone(store, check_name("clone", name), moment, archived=None)
    with closing(cluster.log(record)) as log:
        cluster_id = log.id
        if clone is None:
            clone = _begin(store, lambda: find_start(store, log, codec, moment).base, name, moment)
    settings = deployment.config.worker
    try:
        with store.clones.fill(clone) as fill:
            elder = fill.reached if fill.reached.sequence else None
            events = LogEvents(
                lambda: cluster.log(record), codec, who.group_id, elder, settings.queue_bytes, settings.poll_timeout
            )
            with closing(events):
                return _Filling(store, fill, moment, cluster_id, advance).run(events)
    except IMPOSSIBLE as error:
        drop_forming(store, clone)
        raise _explained(error, moment) from error


def forming_clone(store: Store, name: str, moment: Moment, *, archived: str | None) -> Clone | None:
    """A clone of that name that is being filled up to that moment, from the archive of a copy or from the log (None);
    None if there is none of that name. One that is filled the other way is another one: what is there already would not
    be overwritten."""
    there = next((clone for clone in store.clones.all() if clone.name == name), None)
    if there is None:
        return None
    if there.forming and there.moment == moment and there.archived == archived:
        return there
    what = f" and is being materialised at {there.moment}" if there.forming else ""
    raise AlreadyExists(
        f"a clone {name} of group {store.identity.group} is there already{what}",
        hint=f"choose another name, or drop it: tidelog clone drop {name} --group GROUP --site SITE",
        group=store.identity.group,
    )


def drop_forming(store: Store, clone: Clone) -> None:
    """Drops a clone that will not be whole, and no other that has its name by now."""
    with suppress(NotFound):
        there = store.clones.find(clone.name, forming=True)
        if there.forming and there.id == clone.id:
            store.clones.drop(clone.name)


def _begin(store: Store, base: Callable[[], Copy | None], name: str, moment: Moment) -> Clone:
    for _ in range(_TRIES - 1):
        with suppress(NotFound):  # the copy was dropped in between: from an elder one, if that will do
            return store.clones.begin(base() or NOTHING, name, moment)
    return store.clones.begin(base() or NOTHING, name, moment)


def _explained(error: TidelogError, moment: Moment) -> TidelogError:
    if isinstance(error, OutOfWindow):
        return error
    return OutOfWindow(f"the log cannot be followed up to {moment}: {error.message}", sequence=error.sequence)


class _Filling:
    """From where a clone has come to, up to its moment."""

    def __init__(self, store: Store, fill: CloneFill, moment: Moment, cluster_id: str, advance: Advance) -> None:
        self._store, self._fill, self._moment, self._cluster_id = store, fill, moment, cluster_id
        self._advance = advance
        head = fill.reached.head
        self._image = Image(Position(head, cluster_id, 0, 0), fill.volumes, {}, {})

    def run(self, events: LogEvents) -> Clone:
        moment, from_sequence = self._moment, self._fill.clone.base.sequence
        done, moved = self._is_there(), time.monotonic()
        while not done:
            run = events.take(IDLE)
            if not run:
                if time.monotonic() - moved > STALL:
                    raise LogUnavailable(f"the log gives nothing for {STALL:g} s", hint="give the command again")
                time.sleep(0.001)  # it is being opened
                continue
            for event, offset in run:
                if done := self._take(event, offset):
                    break
            moved = time.monotonic()
            self._advance(from_sequence, self._fill.reached.sequence, moment.sequence)
        return self._fill.finish()

    def _is_there(self) -> bool:
        reached, moment = self._fill.reached, self._moment
        # Timestamps only grow, and a copy by time holds all up to its time.
        last = moment.sequence or moment.at_us
        return reached.sequence > 0 and (reached.sequence if moment.sequence else reached.timestamp_us) >= last

    def _take(self, whole: Event, offset: int) -> bool:
        """Carries out what of an event lies behind what is reached and in the image; whether that was the last."""
        at = self._fill.reached
        if whole.last_sequence <= at.sequence:
            return False
        first = at.sequence + 1 - whole.sequence
        if first < 0 or (first and not isinstance(whole, WriteBatch)):
            raise OutOfWindow(f"the log lacks sequence {at.sequence + 1}", sequence=at.sequence + 1)
        if not first:
            validate(whole, offset, at.head, self._image)
        event, stamp, last = whole, whole.timestamp_us, whole.last_sequence
        if isinstance(whole, WriteBatch):
            count = self._covered(whole)
            if count > first and (first or count < len(whole.lengths)):
                event = part(whole, first, count)
            last, stamp = whole.sequence + count - 1, whole.timestamps_us[count - 1]
            if count <= first:
                return True
        elif not self._moment.covers(last, stamp):
            return True
        head = replace(at.head.after(whole, offset), sequence=last, timestamp_us=stamp)
        self._carry_out(event, head)
        return self._is_there() or last < whole.last_sequence

    def _covered(self, batch: WriteBatch) -> int:
        """How many writes of a batch are in the image."""
        if self._moment.sequence:
            return min(len(batch.lengths), self._moment.sequence + 1 - batch.sequence)
        return bisect_right(batch.timestamps_us, self._moment.at_us)

    def _carry_out(self, event: Event, head: Head) -> None:
        with self._source(event) as copies:
            self._fill.apply(event, head, self._cluster_id, copies)

    @contextmanager
    def _source(self, event: Event) -> Iterator[list[Copy]]:
        """The copies that the event may copy from, held meanwhile; its own base the clone holds."""
        found = [self._fill.clone.base]
        with ExitStack() as leases:
            if isinstance(event, VolumeCopied):
                wanted = event.source_copy_sequence, event.source_copy_seal, CopyOrigin.MARKER
                for copy in self._store.copies():
                    if (copy.sequence, copy.seal, copy.origin) == wanted:
                        with suppress(NotFound):  # dropped in between: that it is missing, the fill says
                            found.append(leases.enter_context(self._store.hold(copy, HoldKind.VOLUME)).copy)
            yield found
