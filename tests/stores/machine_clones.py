"""What the store's machine knows of clones and holds: each clone beside a bytearray a volume, each held copy beside
what it was when it was cut, through drops, rewinds and lost connections."""

from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule
from store_model import Model

from tidelog.errors import AlreadyExists, NotFound, StoreUnavailable
from tidelog.stores.clone_image import CloneImage
from tidelog.stores.holds import new_id, put_lease, remove_holds
from tidelog.stores.image import Store
from tidelog.stores.keyspace import Keyspace
from tidelog.stores.memory import MemoryKeyspace
from tidelog.stores.records import encode_hold
from tidelog.stores.store import Clone, Copy, HoldKind
from tidelog.stores.transaction import Limits

ONE_BY_ONE = Limits(1, 1)
NAMES = ["d0", "d1", "d2", "d3"]
Volumes = dict[int, bytearray]


@dataclass
class Held:
    """A lease, and what its copy holds. Once it has ``ended``, the copy may be gone."""

    copy: Copy
    volumes: Volumes
    ended: bool = False


class CloneRules:
    """Clones of every copy, several of one; leases on others."""

    keyspace: Keyspace
    store: Store
    model: Model

    def __init__(self) -> None:
        super().__init__()
        self.clones: dict[str, tuple[Clone, Volumes]] = {}
        self.held: dict[str, Held] = {}
        self.images: dict[str, CloneImage] = {}

    def fold(self) -> None:
        self.model.fold(self.author.log)  # type: ignore[attr-defined]

    def content_of(self, copy: Copy) -> Volumes:
        self.fold()
        volumes = self.model.copies[copy.sequence][1].volumes
        return {info.id: bytearray(content) for info, content in volumes.values()}

    def image(self, clone: Clone) -> CloneImage:
        if clone.id not in self.images:
            self.images[clone.id] = self.store.clones.image(clone)
        return self.images[clone.id]

    def failing(self, nth: int, applied: bool) -> None:
        """The twin loses a connection at the nth transaction from now; a real server does not."""

    def working(self) -> None:
        """No connection is lost from now on."""

    @rule(data=st.data(), name=st.sampled_from(NAMES), fault=st.sampled_from([None, None, None, True, False]))
    def make_clone(self, data: st.DataObject, name: str, fault: bool | None) -> None:
        copies = self.store.copies()
        if not copies:
            return
        copy = data.draw(st.sampled_from(copies))
        if name in self.clones:
            with pytest.raises(AlreadyExists):
                self.store.clones.create(copy, name)
            return
        if fault is not None:
            self.failing(1, fault)
        try:
            self.store.clones.create(copy, name)
        except StoreUnavailable:
            if not fault:
                return
        finally:
            self.working()
        self.clones[name] = self.store.clones.find(name), self.content_of(copy)

    @rule(data=st.data(), fault=st.sampled_from([None, None, None, True, False]))
    def change_clone(self, data: st.DataObject, fault: bool | None) -> None:
        """Writes to or discards a part of a clone; over a connection that is lost, all or nothing of it."""
        change = self.draw_change(data)
        if change is None:
            return
        if fault is not None:
            self.failing(1, fault)
        try:
            self.carry_out(*change)
            self.put(*change)
        except StoreUnavailable:
            self.find_out(*change)
        finally:
            self.working()

    def find_out(self, name: str, volume: int, start: int, end: int, data: bytes | None) -> None:
        """A change of which nothing was heard: all of it is there, or nothing."""
        clone, volumes = self.clones[name]
        info = next(info for info in clone.base.volumes if info.id == volume)
        before = bytes(volumes[volume])
        self.put(name, volume, start, end, data)
        if (found := self.image(clone).read(info, 0, info.size)) != volumes[volume]:
            assert found == before
            volumes[volume][:] = before

    def draw_change(self, data: st.DataObject) -> tuple[str, int, int, int, bytes | None] | None:
        """A clone's name, a volume's id, from and up to where, and what: None for zeros."""
        usable = [name for name, (clone, _) in sorted(self.clones.items()) if clone.base.volumes]
        if not usable:
            return None
        name = data.draw(st.sampled_from(usable))
        info = data.draw(st.sampled_from(self.clones[name][0].base.volumes))
        start = data.draw(st.integers(0, info.size - 1))
        start = data.draw(st.sampled_from([start, start // info.block_size * info.block_size]))
        end = data.draw(st.integers(start + 1, info.size))
        end = data.draw(st.sampled_from([end, min(info.size, start + info.block_size), info.size]))
        data_of = data.draw(st.sampled_from([b"\0", b"x", b"yz", None]))
        return name, info.id, start, end, data_of and (data_of * (end - start))[: end - start]

    def carry_out(self, name: str, volume: int, start: int, end: int, data: bytes | None) -> None:
        clone = self.clones[name][0]
        info = next(info for info in clone.base.volumes if info.id == volume)
        if data is None:
            self.image(clone).discard(info, start, end - start)
        else:
            self.image(clone).write(info, start, data)

    def put(self, name: str, volume: int, start: int, end: int, data: bytes | None) -> None:
        self.clones[name][1][volume][start:end] = bytes(end - start) if data is None else data

    @rule(data=st.data(), nth=st.integers(1, 4), fault=st.sampled_from([None, None, True, False]))
    def drop_clone(self, data: st.DataObject, nth: int, fault: bool | None) -> None:
        """Cut short anywhere: before its first step it is as if nothing had been; after it the clone is gone."""
        if not self.clones:
            return
        name = data.draw(st.sampled_from(sorted(self.clones)))
        if fault is not None:
            self.failing(nth, fault)
        try:
            self.store.clones.drop(name)
        except StoreUnavailable:
            if nth == 1 and not fault:
                return
        finally:
            self.working()
        self.images.pop(self.clones.pop(name)[0].id, None)

    @rule(data=st.data(), kind=st.sampled_from([HoldKind.EXPORT, HoldKind.VOLUME]))
    def hold(self, data: st.DataObject, kind: HoldKind) -> None:
        if copies := self.store.copies():
            copy = replace(data.draw(st.sampled_from(copies)), hold=new_id())
            put_lease(self.keyspace, self.store._keys, copy, kind, "machine")
            self.held[copy.hold] = Held(copy, self.content_of(copy))

    @rule(data=st.data(), how=st.sampled_from(["release", "renew", "end"]))
    def change_hold(self, data: st.DataObject, how: str) -> None:
        if not self.held:
            return
        name = data.draw(st.sampled_from(sorted(self.held)))
        held, keys = self.held[name], self.store._keys
        if how == "release":
            remove_holds(self.keyspace, keys, [name])
            del self.held[name]
        elif how == "renew":
            try:
                put_lease(self.keyspace, keys, held.copy, HoldKind.EXPORT, "machine")
                held.ended = False
            except NotFound:
                assert held.ended
        else:
            there = next((hold for hold in self.store.holds() if hold.id == name), None)
            if there is not None:
                row = encode_hold(replace(there, expires_us=1))
                self.keyspace.transact([(b"HSET", keys.holds, name.encode(), row)])
            held.ended = True

    @invariant()
    def clones_and_held_copies(self) -> None:
        assert [clone.name for clone in self.store.clones.all()] == sorted(self.clones)
        for clone, volumes in self.clones.values():
            assert self.store.clones.find(clone.name) == clone
            for info in clone.base.volumes:
                assert self.image(clone).read(info, 0, info.size) == volumes[info.id], (clone.name, info)
        for held in self.held.values():
            try:
                for info in held.copy.volumes:
                    assert self.store.read(info, 0, info.size, held.copy) == held.volumes[info.id]
            except NotFound:
                assert held.ended

    def remember_clones(self) -> Any:
        """What a snapshot of Redis is to go with."""
        clones = {name: (clone, _copied(volumes)) for name, (clone, volumes) in self.clones.items()}
        return clones, {name: replace(held) for name, held in self.held.items()}

    def recall_clones(self, remembered: Any) -> None:
        """Redis has gone back: so have clones and holds."""
        clones, held = remembered
        self.clones = {name: (clone, _copied(volumes)) for name, (clone, volumes) in clones.items()}
        self.held = {name: replace(one) for name, one in held.items()}

    def end_clones(self) -> None:
        """No clone is left, and nobody holds anything."""
        for name in sorted(self.clones):
            self.store.clones.drop(name)
        self.store.clones.finish_drops()
        if self.held:
            remove_holds(self.keyspace, self.store._keys, self.held)
        self.clones.clear()
        self.held.clear()


class TwinClones(CloneRules):
    """And what only the twin can do: lose a connection at a transaction, and let others in between."""

    keyspace: MemoryKeyspace
    apply: Any
    maintain: Any

    def failing(self, nth: int, applied: bool) -> None:
        self.keyspace.fail(nth, applied=applied)

    def working(self) -> None:
        self.keyspace._fault = None

    @rule(data=st.data(), point=st.sampled_from(["exec", "watch", "get"]), work=st.sampled_from(["apply", "write"]))
    def race_for_a_clone(self, data: st.DataObject, point: str, work: str) -> None:
        """At one point of a change of a clone a worker comes in between, or another process changes the same clone."""
        outer, inner = self.draw_change(data), self.draw_change(data)
        if outer is None or inner is None:
            return

        def between(at: str) -> None:
            if at != point:
                return
            self.keyspace.between = lambda _point: None
            if work == "apply":
                self.apply(0, 20, True, ONE_BY_ONE)
                self.maintain(0, 5, ONE_BY_ONE)
            else:
                images, self.images = self.images, {}
                self.carry_out(*inner)
                self.images = images

        self.keyspace.between = between
        try:
            self.carry_out(*outer)
        except StoreUnavailable:  # Redis has gone back and cut the connection off, before anybody came in between
            self.find_out(*outer)
            return
        finally:
            self.keyspace.between = lambda _point: None
        order = [outer] if work == "apply" else [inner, outer] if point == "exec" else [outer, inner]
        for change in order:
            self.put(*change)


def _copied(volumes: Volumes) -> Volumes:
    return {number: bytearray(content) for number, content in volumes.items()}
