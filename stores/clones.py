"""Clones: writable overlays on copies at one site. Made, listed and dropped here; `tidelog.stores.clone_image` reads
and writes them, `tidelog.stores.clone_drop` takes their blocks away.

A clone is no part of the fold: it is known at its site alone, and a rebuild takes it away. Making and dropping one
raises the layout, so that an erase, which moves the position first, sees every clone there is.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import cast

from tidelog.errors import AlreadyExists, NotFound, StoreUnavailable
from tidelog.names import check_name
from tidelog.stores.clone_drop import CloneDrop, dropping_clones
from tidelog.stores.clone_image import CloneImage, dropping_token, live_token
from tidelog.stores.holds import new_id, time_us
from tidelog.stores.keys import Keys
from tidelog.stores.keyspace import Command, Keyspace, Reply
from tidelog.stores.placing import placing
from tidelog.stores.reading import check_good, check_readable, standing
from tidelog.stores.records import (
    decode_clone,
    decode_copy,
    decode_position,
    encode_clone,
    encode_hold,
    encode_position,
)
from tidelog.stores.state import present
from tidelog.stores.store import Clone, Copy, Hold, HoldKind, Identity
from tidelog.stores.watched import change_beside


@placing
class Clones:
    """The clones of one group at one site. From `Store.clones`. Thread-safe.

    Every method raises `StoreUnavailable`, and `NeedsRebuild` or `StoreDamaged` as a store's do.
    """

    def __init__(self, keyspace: Keyspace, identity: Identity) -> None:
        self.identity = identity
        self._keyspace = keyspace
        self._keys = Keys(identity.group)

    def all(self) -> list[Clone]:
        """Every clone that can be used, by name."""
        position, rows = self._keyspace.transact([(b"GET", self._keys.position), (b"HGETALL", self._keys.clones)])
        present(position)
        return sorted((clone for clone in _decoded(rows) if not clone.dropping), key=lambda clone: clone.name)

    def find(self, name: str) -> Clone:
        """The clone of that name. Raises `NotFound`, naming those that there are."""
        clones = self.all()
        found = next((clone for clone in clones if clone.name == name), None)
        if found is None:
            there = ", ".join(clone.name for clone in clones) or "none"
            raise NotFound(
                f"site {self.identity.site} has no clone {name!r} of group {self.identity.group} (there are: {there})",
                hint="tidelog pitc clone makes one",
                group=self.identity.group,
            )
        return found

    def create(self, copy: Copy, name: str) -> Clone:
        """A clone of a formed copy: nothing is copied, and the copy's blocks stay for as long as the clone does.

        Raises `InvalidName`; `AlreadyExists`; `NotFound` if the copy is not there, or dropped; `SiteBehind` while the
        site is being rebuilt; `StoreUnavailable` after bounded tries.
        """
        check_name("clone", name)
        keys = self._keys

        def plan() -> tuple[list[Command], Clone]:
            ask: list[Command] = [*standing(keys, replace(copy, hold="")), (b"GET", keys.rebuild), (b"TIME",)]
            record, hold, rebuild, now, rows = self._keyspace.transact([*ask, (b"HGETALL", keys.clones)])
            check_good(rebuild)
            check_readable(copy, record, hold)
            if any(clone.name == name for clone in _decoded(rows) if not clone.dropping):
                raise AlreadyExists(
                    f"a clone {name} of group {self.identity.group} is there already",
                    hint="drop it, or choose another name",
                    group=self.identity.group,
                )
            number = new_id()
            clone = Clone(number, name, replace(decode_copy(cast("bytes", record)), hold=number), time_us(now))
            held = Hold(number, copy.generation, copy.sequence, copy.seal, HoldKind.CLONE, name)
            return [
                (b"HSET", keys.clones, clone.field.encode(), encode_clone(clone)),
                (b"HSET", keys.holds, number.encode(), encode_hold(held)),
                (b"SET", keys.clone(number), live_token()),
            ], clone

        return self._change(plan)

    def drop(self, name: str, advance: Callable[[int], None] | None = None) -> Clone:
        """Drops a clone: from its first step on nobody reads or writes it, and its copy is no longer held. Returns when
        its blocks are gone; ``advance`` is told of the number gone since the last call.

        Cut short, it goes on by itself: a worker of the site, or the next drop of any clone, finds what is left.
        Raises `NotFound`.
        """
        keys = self._keys

        def plan() -> tuple[list[Command], Clone]:
            clone = self.find(name)
            gone = replace(clone, dropping=True)
            return [
                (b"HDEL", keys.clones, clone.field.encode()),
                (b"HSET", keys.clones, gone.field.encode(), encode_clone(gone)),
                (b"HDEL", keys.holds, clone.id.encode()),
                (b"SET", keys.clone(clone.id), dropping_token()),
            ], gone

        dropped = self._change(plan)
        self.finish_drops(advance)
        return dropped

    def finish_drops(self, advance: Callable[[int], None] | None = None) -> None:
        """Takes away what is left of every clone that was dropped."""
        for clone in dropping_clones(self._keyspace, self._keys):
            drop = CloneDrop(self._keyspace, self._keys, clone)
            try:
                while (count := drop.step()) is not None:
                    if advance is not None:
                        advance(count)
            finally:
                drop.close()

    def image(self, clone: Clone) -> CloneImage:
        """What a clone's volumes hold, for reading and writing; whoever asks closes it."""
        return CloneImage(self._keyspace, self.identity, clone)

    def _change(self, plan: Callable[[], tuple[list[Command], Clone]]) -> Clone:
        """One EXEC of what ``plan`` says at a position, which raises the layout."""
        made: list[Clone] = []

        def commands(value: bytes | None) -> list[Command]:
            position = decode_position(present(value))
            own, clone = plan()
            made[:] = [clone]
            moved = encode_position(replace(position, layout=position.layout + 1))
            return [*own, (b"SET", self._keys.position, moved)]

        failed = StoreUnavailable("the clone cannot be changed: the store never stands still", hint="try again")
        change_beside(self._keyspace, self._keys.position, commands, failed)
        return made[0]


def _decoded(rows: Reply) -> list[Clone]:
    return [decode_clone(row) for row in cast("list[bytes]", rows)[1::2]]
