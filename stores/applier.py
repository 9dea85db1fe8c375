"""The way of events into a store: planned in Python while Redis executes the transaction before."""

from collections.abc import Iterable

from tidelog.schemas.events import Event
from tidelog.stores.store import Position


class Applier:
    """Applies a group's accepted events, in order, exactly once. From `Store.applier`; one thread; not shared.

    Raises out of any method: `PositionMoved` when another worker, another process or a rewind changed the store (throw
    the applier away and open a new one), `StoreUnavailable` and `StoreDamaged` (likewise), `CorruptEvent` and
    `UnsupportedEvent` when an event cannot be applied: the events before it are applied, it and those behind are not.
    """

    @property
    def position(self) -> Position:
        """The position after everything submitted, confirmed by Redis or not."""
        raise NotImplementedError

    @property
    def confirmed(self) -> Position:
        """The position that Redis has confirmed; what counts for reports."""
        raise NotImplementedError

    def submit(self, run: Iterable[tuple[Event, int]]) -> None:
        """Applies a run of (event, offset of its record); the first follows `position`.

        Returns when the last transaction of the run is sent; at most that one is not confirmed yet. Consecutive write
        batches and discards share transactions up to the limits; every event is atomic.
        """
        raise NotImplementedError

    def settle(self) -> Position:
        """Waits until everything submitted is confirmed: `confirmed`."""
        raise NotImplementedError

    def maintain(self) -> bool:
        """One bounded step (some ms) of dropping copies or collecting deleted volumes' blocks, confirmed; False if none
        was due. Settles first. Call it when there is nothing to apply, and now and then when there is."""
        raise NotImplementedError

    def close(self) -> None:
        """Ends its connection at once, without settling."""
        raise NotImplementedError
