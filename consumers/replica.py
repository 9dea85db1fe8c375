"""One group at one site: what keeps its store a fold of its log.

There is exactly one loop that applies, `Replica._apply_until_stopped`. Everything that makes it doubt ends it with a
halt: position, data and copies stay as they are, and nothing is skipped.
"""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from tidelog.config_tables import KeepRules
from tidelog.consumers.changed_log import MakeFollower, follower_at
from tidelog.consumers.counts import Counts
from tidelog.consumers.fetcher import Fetcher, Run
from tidelog.consumers.housekeeping import maintain
from tidelog.consumers.late_events import LogEvents
from tidelog.consumers.local_copies import obey, protect
from tidelog.consumers.local_retention import apply_local
from tidelog.consumers.log_connection import LogConnection
from tidelog.consumers.orders import Order
from tidelog.consumers.progress import Progress, ReplicaSettings
from tidelog.consumers.progress import State as State
from tidelog.consumers.receipts import Receipts
from tidelog.consumers.uncopied import Uncopied
from tidelog.errors import Halted, NeedsRebuild, RollingBack, TidelogError, Unavailable
from tidelog.producers.control import Control
from tidelog.producers.follower import Follower, Skipped
from tidelog.producers.log import Log
from tidelog.producers.mirrors import sealed_log
from tidelog.schemas.chain import Head
from tidelog.schemas.codec import Codec
from tidelog.schemas.mirrors import HistorySealed
from tidelog.stores.applier import Applier
from tidelog.stores.began import Began
from tidelog.stores.image import Store
from tidelog.stores.keyspace import PositionMoved
from tidelog.stores.late import OpenLateEvents
from tidelog.stores.loading import being_loaded

# While events keep coming, housekeeping gets one step this often (seconds): a step is some milliseconds.
MAINTAIN_EVERY = 0.1
RETRY_FIRST, RETRY_MOST = 0.2, 5.0
# Whoever has applied for so long (seconds) when somebody changes the store goes on at once, else after a pause: it
# may be another worker.
UNDISTURBED, MOVED_AGAIN = 1.0, 0.05
IDLE, LATE_IDLE = 0.5, 0.01  # the latter for the log that a late copy reads

# What a replica that applies shows depends on where the log's end is: `Replica.progress` decides.
_RUNNING = State.REPLAYING
# Where a site stands whose store holds nothing that counts.
_NOTHING = Head(0, bytes(16), 0, bytes(16), 0, -1)


class Replica:
    """Applies one group's log to one store, on threads of its own, until `stop`.

    ``open_log`` and ``open_store`` connect anew after each interruption; where somebody else changed the store, only
    the latter. A halt stays until the process starts again or a rebuild; an unavailable log or store is tried again for
    as long as the replica runs, at most every 5 s, and the state says so meanwhile. ``keep`` is the site's retention
    of its own copies by time; None keeps all. ``make_follower`` gives who judges the log; ``before`` is where the site
    stood by its last report, to be said until its store is open.
    """

    def __init__(
        self,
        group: str,
        codec: Codec,
        open_log: Callable[[], Log],
        open_store: Callable[[], Store],
        control: Control,
        settings: ReplicaSettings,
        orders: Sequence[Order] = (),
        keep: KeepRules | None = None,
        make_follower: MakeFollower = Follower,
        before: Head | None = None,
        counts: Counts | None = None,
    ) -> None:
        self.group = group
        self._codec, self._control, self._settings = codec, control, settings
        self.orders = orders  # the commands for copies by time, in place of those before whenever it is set
        self._open_log, self._open_store, self._make_follower = open_log, open_store, make_follower
        self._keep, self._copies_changed = keep, True
        self._stopping = threading.Event()
        self._state = State.STARTING
        self._error: TidelogError | None = None
        self._head = before or _NOTHING
        self._records_applied = 0
        self._follower: Follower | None = None
        self._fetcher: Fetcher | None = None
        self._receipts: Receipts | None = None
        self.uncopied: Uncopied | None = None
        self.began: Began | None = None  # of the store, once it is open
        self._reached = 0  # all records below this offset were judged, and what counts of them is in the store
        self._rebuilding: int | None = None
        self._formed = 0  # late copies, that the receipts have been told of
        self._site, self._counts = "SITE", counts or Counts()
        self._thread = threading.Thread(target=self._run, name=f"tidelog-replica-{group}", daemon=True)

    def start(self) -> None:
        """Starts the threads; returns at once."""
        self._thread.start()

    def ask_to_stop(self) -> None:
        """Begins what `stop` waits for; returns at once."""
        self._stopping.set()
        if self._fetcher is not None:
            self._fetcher.ask_to_stop()  # so that an idle replica's waits, here and for the log, end together

    def stop(self, timeout: float = 30.0) -> None:
        """Ends after the transaction that is on its way; the store stays at a whole event."""
        self.ask_to_stop()
        if self._thread.is_alive():
            self._thread.join(timeout)

    @property
    def running(self) -> bool:
        """False once it halted or was stopped; a replica that waits for its log or store runs."""
        return self._thread.is_alive()

    def progress(self, end_offset: int) -> Progress:
        """Where it stands now. ``end_offset`` is an end of the log seen a moment ago: who is past it is `STREAMING`,
        whether the last records count or not."""
        follower, receipts, state, head = self._follower, self._receipts, self._state, self._head
        error = self._error or (receipts.error if receipts is not None else None)
        if state is not _RUNNING:  # what ended the applying is newer than any gap that was met before
            pass
        elif follower is not None and follower.gap is not None:
            state, error = State.HALTED, follower.gap
        else:
            reached = max(head.next_offset, self._reached)
            state = State.STREAMING if reached >= end_offset else State.REPLAYING
            if self._rebuilding is not None:
                state = State.REBUILDING
        skipped = follower.skipped if follower is not None else Skipped()
        return Progress(state, error, head, self._records_applied, skipped)

    def _run(self) -> None:
        connection = LogConnection(self._open_log)
        try:
            self._apply_again_and_again(connection)
            self._state = State.STOPPED
        except TidelogError as error:
            self._halt(error)
        except Exception as error:  # a thread must not die unseen
            self._halt(TidelogError(f"replica failed: {error!r}", hint="this is a bug in tidelog"))
        finally:
            connection.close()

    def _apply_again_and_again(self, connection: LogConnection) -> None:
        pause = 0.0
        while not self._stopping.wait(pause):
            before, began, moved = self._records_applied, time.monotonic(), False
            try:
                self._read_and_apply(connection)
            except PositionMoved:  # read the store anew; whoever moved it may be ahead of us
                self._state, moved = State.STARTING, True
            except Unavailable as error:
                error.at_site(self._site, self.group)
                rolling = isinstance(error, RollingBack)
                self._state, self._error = State.REBUILDING if rolling else State.STARTING, error
                connection.close()
            if moved:
                pause = 0.0 if time.monotonic() - began > UNDISTURBED else MOVED_AGAIN
            elif self._records_applied > before or self._state is State.REBUILDING:
                pause = RETRY_FIRST
            else:
                pause = min(RETRY_MOST, max(RETRY_FIRST, pause * 2))

    def _halt(self, error: TidelogError) -> None:
        error.at_site(self._site, self.group)
        self._error = error
        self._state = State.NEEDS_REBUILD if isinstance(error, NeedsRebuild) else State.HALTED
        if isinstance(error, NeedsRebuild) and error.offset is None:  # not the log lacks something: the store is gone
            self._head = _NOTHING

    def _read_and_apply(self, connection: LogConnection) -> None:
        with ExitStack() as closing:
            store = self._open_store()
            closing.callback(store.close)
            self._site = store.identity.site
            if store.loading() is not None:
                self._state, self._error, self._head = State.REBUILDING, being_loaded(), _NOTHING
                self._error.at_site(self._site, self.group)
                return
            log = connection.log()
            applier = closing.enter_context(store.applier(log.id))
            self.began, self._head, self._reached = store.began(), applier.position.head, 0
            stopping = self._stopping.is_set
            follower = follower_at(store, log, self._codec, applier, self._make_follower, stopping, self._sealed)
            self._head, self._follower = follower.head, follower
            self.uncopied = Uncopied(store, log, self._codec)
            reader, settings = connection.reader_at(follower.head.next_offset), self._settings
            receipts = self._receipts = Receipts(store, self._control, self._counts)
            closing.callback(receipts.close)
            fetcher = self._fetcher = Fetcher(reader, follower, settings.queue_bytes, settings.poll_timeout)
            closing.callback(fetcher.close)
            try:
                self._apply_until_stopped(store, applier, fetcher, receipts)
            except Halted:
                receipts.finish(self._stopping.is_set)
                raise

    def _apply_until_stopped(self, store: Store, applier: Applier, fetcher: Fetcher, receipts: Receipts) -> None:
        self._rebuilding = store.rebuilding()
        self._state, self._error = _RUNNING, None
        self._copies_changed = True
        receipts.wake()
        maintained, unfinished = time.monotonic(), True
        heard: Sequence[Order] | None = None
        applier.open_late(None if self._rebuilding is not None else self._late_events(store))
        while not self._stopping.is_set():
            if receipts.halt is not None:
                self._halt_with(receipts.halt, store, applier)
            if heard is not self.orders:
                heard = self.orders
                obey(heard, store, applier)
            if self._tell_late(applier, receipts):
                heard = None  # what is formed may have been taken back meanwhile
            judged = fetcher.judged  # before the runs are taken that it speaks of
            run = fetcher.take(0 if unfinished else LATE_IDLE if applier.forming else IDLE)
            if run is not None:
                self._apply(run, applier, receipts)
            if run is None or time.monotonic() - maintained > MAINTAIN_EVERY:
                unfinished = maintain(applier)
                maintained = time.monotonic()
                self._retain(store, applier)
                # Else an emptied or rewound Redis would show at the next event only, and there may be none for long.
                if run is None and store.position() != applier.confirmed:
                    raise PositionMoved("the store was changed while nothing was to apply")
            elif fetcher.empty:
                applier.settle()
            self._head = applier.confirmed.head
            if fetcher.empty:
                self._reached = judged
            if self._rebuilding is not None:
                self._rebuilding = store.rebuilding()  # anew: whoever rebuilds sets the goal after the erase
                if self._rebuilding is not None and self._head.sequence >= self._rebuilding:
                    store.end_rebuild()
                    self._rebuilding = None
                if self._rebuilding is None:  # or it was refused
                    applier.open_late(self._late_events(store))
        self._head = applier.settle().head

    def _sealed(self, log: str) -> HistorySealed | None:
        return sealed_log(self._control.snapshot(), self.group, log)

    def _late_events(self, store: Store) -> OpenLateEvents:
        size, timeout = self._settings.queue_bytes // 4, self._settings.poll_timeout
        group_id = store.identity.group_id
        return lambda elder: LogEvents(self._open_log, self._codec, group_id, elder, size, timeout)

    def _tell_late(self, applier: Applier, receipts: Receipts) -> bool:
        """Has the receipts say what became of commands that came too late; whether that is news."""
        late = {order: ("OUT_OF_WINDOW", reason) for order, reason in applier.refused.items()}
        if applier.forming is not None:
            late[applier.forming] = ("FORMING", "")
        if late == receipts.late and applier.formed == self._formed:
            return False
        if applier.formed != self._formed and self.uncopied is not None:
            self._copies_changed = True
            self.uncopied.made_late(applier.newest_copy)
        receipts.late, self._formed = late, applier.formed
        receipts.wake()
        return True

    def _halt_with(self, error: Halted, store: Store, applier: Applier) -> None:
        """Raises what the receipts met, unless the store was changed meanwhile by whoever rebuilds or rewinds it."""
        if applier.settle() != store.position():
            raise PositionMoved("the store was changed while its copies were read")
        raise error

    def _retain(self, store: Store, applier: Applier) -> None:
        """Locks new copies that are to be, and drops what the site's own retention does not keep (the applier then
        sees `PositionMoved`). Asked anew when copies have changed; not before a rebuild, or a late copy, which would
        begin anew, has ended."""
        if not self._copies_changed or applier.forming or self._rebuilding is not None:
            return
        self._copies_changed = False
        protect(self.orders, store)
        if self._keep is not None:
            apply_local(store, self._keep)

    def _apply(self, run: Run, applier: Applier, receipts: Receipts) -> None:
        layout, began, sent = applier.position.layout, time.perf_counter(), applier.sent
        try:
            applier.submit(run.events)
        except Halted as error:
            if error.offset is None:  # the store knows events, and where they stand only in passing
                error.offset = next((offset for event, offset in run.events if event.sequence == error.sequence), None)
            raise
        self._records_applied += len(run.events)
        self._counts.took(run.events, time.perf_counter() - began, applier.sent - sent)
        changed = applier.position.layout != layout  # a copy was cut, or is to be dropped
        if changed:
            applier.settle()
            self._copies_changed = True
            receipts.wake()
        if self.uncopied is not None:
            self.uncopied.took(run.events, applier.newest_copy if changed else self.uncopied.newest)
