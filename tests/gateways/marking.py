"""Copies that are cut in the middle of a commit: pages are written, and the journal would still undo them."""

import tidelog
from tidelog.producers.volume import Volume


class MarkingVolume:
    """The main volume of a database; behind the next write to it the copy that is ``due`` is marked."""

    def __init__(self, group: tidelog.Group, volume: Volume) -> None:
        self._group, self._volume = group, volume
        self.id = volume.id
        self.due: str | None = None

    @property
    def size(self) -> int:
        return self._volume.size

    def read(self, offset: int, length: int) -> bytes:
        return self._volume.read(offset, length)

    def write(self, offset: int, data: bytes) -> None:
        self._volume.write(offset, data)
        if self.due is not None:
            self._group.mark(self.due)
            self.due = None

    def discard(self, offset: int, length: int) -> None:
        self._volume.discard(offset, length)
