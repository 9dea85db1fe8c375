"""The part of the machine that is about copies: onto volumes, and their drops."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from store_lab import Author, Model

from tidelog.schemas.events import VolumeCopied
from tidelog.stores.image import Store
from tidelog.stores.store import Copy

BLOCK = 512


class VolumeCopies(RuleBasedStateMachine):
    """Rules of `StoreMachine`, which has the rest."""

    store: Store
    author: Author
    model: Model
    markers: list[Any]
    dropped: set[int]

    @rule(data=st.data(), count=st.integers(1, 3), live=st.booleans(), excess=st.booleans())
    def copy_volumes(self, data: st.DataObject, count: int, live: bool, excess: bool) -> None:
        """Copies from a live volume or a copy, shipping the least that is right, or more."""
        self.model.fold(self.author.log)
        volumes = [info for info, _ in self.model.states[self.author.head.sequence].volumes.values()]
        for name in sorted({"v0", "v1", "v2"} - {info.name for info in volumes}):  # too few for a chain
            self.author.create(name, max((info.size for info in volumes), default=1000), BLOCK)
        for _ in range(count):
            self.copy_volume(data, live, excess)

    def copy_volume(self, data: st.DataObject, live: bool, excess: bool) -> None:
        self.model.fold(self.author.log)
        state = self.model.states[self.author.head.sequence]
        there = [marker for marker in self.markers if marker.sequence not in state.dropped | self.dropped]
        places = [(None, state)] if live else [(marker, self.model.copies[marker.sequence][1]) for marker in there]
        choices = [
            (source, target, marker)
            for marker, place in places
            for source, (info, _) in place.volumes.items()
            for target, (into, _) in state.volumes.items()
            if info.size <= into.size and source in state.volumes and (source != target or marker is not None)
        ]
        if not choices:
            return
        source, target, marker = data.draw(st.sampled_from(choices))
        blocks = self.model.may_differ(source, target, marker.sequence if marker else 0)
        if excess:
            every = st.integers(0, state.volumes[target][0].blocks - 1)
            blocks |= data.draw(st.frozensets(every, max_size=3))
        self.author.copy(source, target, blocks, marker)

    def mark_dropping(self, copy: Copy) -> None:
        """Another process drops a copy at this site alone; not the source of a copy that is still to come, since the
        site would halt. Of one that has begun, it may."""
        position = self.store.position()
        first = position.head.sequence + (2 if position.step else 1)
        for event, _ in self.author.after(first - 1):
            if isinstance(event, VolumeCopied) and event.source_copy_sequence == copy.sequence:
                return
        assert self.store.mark_dropping(copy)
        assert not self.store.mark_dropping(copy)
        self.dropped.add(copy.sequence)
