"""Which commands a site is too late for, and what becomes of each: one late copy at a time is made, or none can be."""

from collections.abc import Collection, Mapping

from tidelog.clock import iso
from tidelog.errors import OutOfWindow
from tidelog.stores.changes import pairs_at
from tidelog.stores.cut import GENERATION_STEP, split_generation
from tidelog.stores.keys import Keys
from tidelog.stores.keyspace import Command, Keyspace
from tidelog.stores.late import LateCopy, OpenLateEvents
from tidelog.stores.plan import Planner
from tidelog.stores.scars import outside
from tidelog.stores.store import Copy, CopyOrigin, CopyState
from tidelog.stores.timed import DueCopy, late, place


class LateCopies:
    """The late copies of one applier. ``open_events`` is set by whoever can read the log; without it none is made."""

    def __init__(self, keyspace: Keyspace, keys: Keys, planner: Planner) -> None:
        self.open_events: OpenLateEvents | None = None
        self.forgotten: Collection[DueCopy] = ()  # commands whose copies this site has dropped by itself
        self._keyspace, self._keys, self._planner = keyspace, keys, planner
        self.formed = 0  # how many were
        self._refused: dict[DueCopy, str] = {}
        self._crowded: set[DueCopy] = set()  # those of them for which there was no room
        self._current: LateCopy | None = None

    @property
    def busy(self) -> bool:
        """Whether one is being made that is not among the copies yet: no other maintenance may come in between."""
        return self._current is not None

    @property
    def refused(self) -> Mapping[DueCopy, str]:
        """The commands that stand, and that nothing can come of, and why."""
        return {order: why for order, why in self._refused.items() if order in self._planner.orders}

    @property
    def forming(self) -> DueCopy | None:
        """The command that is being obeyed, up to the last step."""
        if self._current is not None:
            return self._current.order
        for copy in self._planner.image.copies.values():
            if copy.state is CopyState.FORMING:
                return DueCopy(copy.name, copy.timestamp_us)
        return None

    def step(self) -> list[Command] | bool:
        """The commands of the next transaction, to be sent at once; True if something was done that needs none, False
        if nothing is due, or the log has not given anything yet."""
        current = self._current
        if current is None:
            return self._begin()
        if current.order not in self._planner.orders:  # taken back: what was written is found under ``forming``
            self.close()
            return True
        try:
            commands = next(current.steps)
        except StopIteration:
            self.close()
            return True
        except OutOfWindow as error:
            self._refuse(current.order, error)
            return True
        return False if commands is None else commands or True

    def close(self) -> None:
        """Lets go of the log, and of what is being made."""
        current, self._current = self._current, None
        if current is not None:
            current.close()

    def has_room(self) -> None:
        """A copy has gone: commands that were refused for want of room are looked at again."""
        for order in self._crowded:
            self._refused.pop(order, None)
        self._crowded.clear()

    def _begin(self) -> list[Command] | bool:
        image = self._planner.image
        if self.open_events is None or not image.position.head.sequence:
            return False
        for order in late(self._planner.orders, image):
            if order in self._refused or order in self.forgotten:
                continue
            elder, younger = place(order, outside(image.copies))
            if younger is None:  # the newest generation collects: another must begin before it can be split (C3)
                return split_generation(image, self._keys)
            try:
                _check_room(elder, younger, image.position.generation)
            except OutOfWindow as error:
                self._crowded.add(order)
                self._refuse(order, error)
                return True
            events = self.open_events(elder)
            pairs = pairs_at(self._keyspace, self._keys, elder.generation) if elder else {}
            self._current = LateCopy(self._planner, self._keys, order, (elder, younger), events, pairs)
            return True
        return False

    def _refuse(self, order: DueCopy, error: OutOfWindow) -> None:
        self._refused[order] = str(error)
        self.close()


def _check_room(elder: Copy | None, younger: Copy, newest: int) -> None:
    if younger.generation - (elder.generation if elder else 0) > 1:
        return
    if elder is None and newest % GENERATION_STEP:  # cuts are counted on from a base, which is 1
        raise OutOfWindow(
            f"this site began from copy {younger.name}, of {iso(younger.timestamp_us)}, and holds none from before"
        )
    names = ["one that is going" if one.origin is CopyOrigin.SPLIT else one.name for one in (elder, younger) if one]
    where = "between copies " + " and ".join(names) if elder else f"before copy {names[0]}, the first"
    raise OutOfWindow(f"there is no room for another copy {where}; drop one that was made late there")
