"""A small application on tidelog: stock levels, kept on a replicated volume as fixed-size slots.

It knows only `tidelog.Group` and a volume; where they come from (real servers, memory, a test's fixture) is not its
business.
"""

import struct
from collections.abc import Callable

import tidelog

_SLOT = struct.Struct("<q24s")  # stock, name


class Inventory:
    """Stock levels by slot number. Each change is one write; `commit` makes all of them durable in the log."""

    def __init__(self, group: tidelog.Group, slots: int = 1024) -> None:
        self._group = group
        self._volume = group.create_volume("inventory", slots * _SLOT.size)

    def put(self, slot: int, name: str, stock: int) -> None:
        """Sets a slot. Names are up to 24 bytes of UTF-8."""
        self._volume.write(slot * _SLOT.size, _SLOT.pack(stock, name.encode()))

    def move(self, source: int, target: int, count: int) -> None:
        """Moves stock between two slots: two writes, so only a copy of one point in time shows both or neither."""
        for slot, change in ((source, -count), (target, count)):
            name, stock = self.get(slot)
            self.put(slot, name, stock + change)

    def get(self, slot: int) -> tuple[str, int]:
        """Name and stock, own changes included."""
        return read_slot(self._volume.read, slot)

    def commit(self) -> None:
        """Returns when every change is durable."""
        self._group.flush()

    def close_of_business(self, day: str) -> tidelog.MarkedCopy:
        """A point-in-time copy at every site, named after the day."""
        self.commit()
        return self._group.mark(f"close-{day}")


def read_slot(read: Callable[[int, int], bytes], slot: int) -> tuple[str, int]:
    """Name and stock from anything with a volume's ``read``: the live volume, or a copy at another site."""
    stock, name = _SLOT.unpack(read(slot * _SLOT.size, _SLOT.size))
    return name.rstrip(b"\0").decode(), stock
