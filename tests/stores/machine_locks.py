"""What the store's machine knows of locks: rules that lock and keep copies, and who is refused to drop a locked one."""

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import rule
from store_lab import Author

from tidelog.errors import Locked
from tidelog.schemas.events import Heartbeat
from tidelog.stores.image import Store
from tidelog.stores.store import Copy

EVENT_US = 1000  # between two events of an `Author`


class LockRules:
    """Locks that end some events later, so that drops come before and after their ends."""

    author: Author
    store: Store
    markers: list[Any]
    dropped: set[int]

    @rule(data=st.data(), events=st.integers(-3, 25), kept=st.sampled_from([None, None, True, False]))
    def lock(self, data: st.DataObject, events: int, kept: bool | None) -> None:
        """Locks a copy that was ever made, for so many events from now (below 1: not at all), or keeps it."""
        if not self.markers:
            return
        marker = data.draw(st.sampled_from(self.markers))
        if kept is None:
            self.author.lock(marker, max(0, self.author.head.timestamp_us + events * EVENT_US))
        else:
            self.author.keep(marker, kept=kept)

    def mark_dropping(self, copy: Copy) -> None:
        """A drop at this site alone: refused while the copy is locked at the store's own position."""
        if copy.locked_until_us > self.store.position().head.timestamp_us:
            with pytest.raises(Locked, match="is locked until"):
                self.store.mark_dropping(copy)
            return
        super().mark_dropping(copy)  # type: ignore[misc]

    def end_locks(self) -> None:
        """Time passes until no lock runs."""
        while any(copy.locked_until_us > self.author.head.timestamp_us for copy in self.store.copies()):
            self.author.add(Heartbeat)
