"""The way of events into a store: planned in Python while Redis executes the transaction before."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Self, cast

from tidelog.errors import Halted, StoreUnavailable
from tidelog.schemas.events import Event
from tidelog.stores.bitmap import ChangeBitmap
from tidelog.stores.clone_drop import CloneDrops
from tidelog.stores.drop import Maintenance
from tidelog.stores.keys import Keys
from tidelog.stores.keyspace import Command, Keyspace, PositionMoved
from tidelog.stores.late import OpenLateEvents
from tidelog.stores.plan import Planner
from tidelog.stores.records import encode_position
from tidelog.stores.state import READ_TRIES, present, read_image
from tidelog.stores.store import Copy, CopyOrigin, CopyState, Position
from tidelog.stores.timed import DueCopy
from tidelog.stores.transaction import Limits, Transaction


class Applier:
    """Applies a group's accepted events, in order, exactly once. From `Store.applier`; one thread; not shared.

    Raises out of any method: `PositionMoved` when another worker, another process or a rewind changed the store (throw
    the applier away and open a new one), `StoreUnavailable` and `StoreDamaged` (likewise), `CorruptEvent`,
    `CopyMissing`, `LogGap` and `LogDiverged` when an event cannot be applied: the events before it are submitted,
    it and those behind are not, and the applier remains usable.
    """

    def __init__(self, keyspace: Keyspace, keys: Keys, cluster_id: str, limits: Limits) -> None:
        self._session = keyspace.session(keys.position)
        try:
            for _ in range(READ_TRIES):
                value = present(self._session.begin())
                image = read_image(keyspace, keys)
                # Everything read belongs to the position that is watched, else the first transaction would fail anyway.
                if encode_position(image.position) == value:
                    break
            else:
                raise StoreUnavailable("the store changes faster than it can be read", hint="is another worker on it?")
        except BaseException:
            self._session.close()
            raise
        self._keyspace, self._keys = keyspace, keys
        self._planner = Planner(keys, image, cluster_id, limits, self._read_bitmaps)
        self._maintenance = Maintenance(keyspace, keys, self._planner)
        self._clone_drops = CloneDrops(keyspace, keys)
        self._confirmed = image.position
        self._on_its_way: Transaction | None = None
        self.sent = 0  # transactions, those of `maintain` among them
        self._failed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def position(self) -> Position:
        """The position after everything submitted, confirmed by Redis or not."""
        return self._planner.image.position

    @property
    def confirmed(self) -> Position:
        """The position that Redis has confirmed; what counts for reports."""
        return self._confirmed

    @property
    def newest_copy(self) -> Copy | None:
        """The formed copy that holds most of the log, after everything submitted; never one of a lost history."""
        copies = self._planner.image.copies.values()
        formed = (copy for copy in copies if copy.state is CopyState.FORMED and copy.origin is not CopyOrigin.LOST)
        return max(formed, key=lambda copy: copy.sequence, default=None)

    def order(self, copies: Sequence[DueCopy], forgotten: Collection[DueCopy] = ()) -> None:
        """The copies by time that are asked for from now on, in place of those before: each is cut where its time falls
        among the events submitted after this call, once; if the head is past it already, `maintain` makes it late,
        unless it is one of the ``forgotten``, which were cut and dropped here alone."""
        self._planner.orders = tuple(copies)
        self._maintenance.late.forgotten = forgotten

    def open_late(self, events: OpenLateEvents | None) -> None:
        """How late copies get at the log; None, as at first: none is begun, and one that is being made goes on."""
        self._maintenance.late.open_events = events

    @property
    def forming(self) -> DueCopy | None:
        """The late copy that is being made."""
        return self._maintenance.late.forming

    @property
    def formed(self) -> int:
        """How many late copies this applier has ended."""
        return self._maintenance.late.formed

    @property
    def refused(self) -> Mapping[DueCopy, str]:
        """Commands that came too late for anything to be done about them, and why."""
        return self._maintenance.late.refused

    def submit(self, run: Iterable[tuple[Event, int]]) -> None:
        """Applies a run of (event, offset of its record); the first follows `position`.

        Returns when the last transaction of the run is sent; at most that one is not confirmed yet. Consecutive write
        batches and discards share transactions up to the limits; every event is atomic, but one too large for a
        transaction (a discard, shrink or volume copy of many blocks) is applied in steps that ``position.step`` counts.
        An applier opened in the midst of one takes the same event again and goes on from there.
        """
        self._check()
        try:
            for transaction in self._planner.plan(run):
                self._send(transaction)
        except Halted:  # an event that cannot be applied, met before anything of it was planned
            raise
        except BaseException:
            self._fail()
            raise

    def found(self, offset: int, offsets: Mapping[tuple[int, bytes], int]) -> Position:
        """Moves the position to this applier's cluster, in whose log the head's record stands at ``offset``: for a
        store that was filled from another cluster's log; and the copies whose events, by sequence and seal, stand at
        ``offsets`` there. Settles; nothing else in the store changes."""
        head = replace(self.settle().head, offset=offset)
        try:
            self._send(self._planner.found(head, offsets))
        except BaseException:
            self._fail()
            raise
        return self.settle()

    def settle(self) -> Position:
        """Waits until everything submitted is confirmed: `confirmed`."""
        self._check()
        transaction, self._on_its_way = self._on_its_way, None
        if transaction is not None:
            try:
                value = self._session.settle()
                # The only thing that lets the next MULTI go out (L5, L6): the store is where this applier left it.
                if value != transaction.value:
                    raise PositionMoved("another worker or command changed the position")
            except BaseException:
                self._fail()
                raise
            self._confirmed = transaction.position
        return self._confirmed

    def maintain(self) -> bool:
        """One bounded step (some ms) of dropping copies, collecting deleted volumes' blocks, making a late copy or
        taking away clones that were dropped, confirmed; False if none was due, or a late copy waits for the log.
        Settles first. Call it when there is nothing to apply, and now and then when there is."""
        self.settle()
        try:
            done = self._maintenance.step()
            if done is False:
                return self._clone_drops.step()
            if isinstance(done, Transaction):
                self._send(done)
        except BaseException:
            self._fail()
            raise
        self.settle()
        return True

    def close(self) -> None:
        """Ends its connection at once, without settling."""
        self._fail()

    def _send(self, transaction: Transaction) -> None:
        try:
            self.settle()
            self._session.submit(transaction.commands)
            self.sent += 1
        except BaseException:
            self._fail()
            raise
        self._on_its_way = transaction

    def _read_bitmaps(self, volume: int, generations: list[int]) -> list[ChangeBitmap]:
        """A volume's bitmaps of generations that no event changes any more. What is on its way is settled first: it may
        be the cut that ended one of them; and they are of this applier's own position, or it is `PositionMoved`."""
        expected = encode_position(self.settle())
        commands: list[Command] = [(b"GET", self._keys.bitmap(generation, volume)) for generation in generations]
        position, *bitmaps = self._keyspace.transact([(b"GET", self._keys.position), *commands])
        if position != expected:
            raise PositionMoved("another worker or command changed the position")
        return [ChangeBitmap(cast("bytes | None", bitmap)) for bitmap in bitmaps]

    def _check(self) -> None:
        if self._failed:
            raise PositionMoved("this applier has failed before: open a new one")

    def _fail(self) -> None:
        """What this applier has planned may not be what the store holds: even an interrupt (Ctrl-C) ends it, since the
        next transaction, conditional only on a position that nobody moved, would go over a hole."""
        self._failed = True
        self._maintenance.late.close()
        self._session.close()
        self._clone_drops.close()
