"""Clones: writable overlays on copies at one site. Made, listed and dropped here; `tidelog.stores.clone_image` reads
and writes them, `tidelog.stores.clone_fill` fills those that are materialised from the log, `tidelog.stores.clone_drop`
takes their blocks away.

A clone is no part of the fold: it is known at its site alone, and a rebuild takes it away. Making and dropping one
raises the layout, so that an erase, which moves the position first, sees every clone there is.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import cast

from tidelog.errors import AlreadyExists, NotFound, StoreUnavailable, UsageError
from tidelog.names import check_name
from tidelog.schemas.chain import origin
from tidelog.stores.clone_drop import CloneDrop, drop_commands, dropping_clones, stop_filling
from tidelog.stores.clone_fill import CloneFill
from tidelog.stores.clone_image import CloneImage
from tidelog.stores.clone_reader import forming_token, live_token, still_forming
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
from tidelog.stores.store import Clone, Copy, CopyOrigin, Hold, HoldKind, Identity, Moment
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
        """Every clone, those that are still being materialised among them, by name."""
        position, rows = self._keyspace.transact([(b"GET", self._keys.position), (b"HGETALL", self._keys.clones)])
        present(position)
        return sorted((clone for clone in _decoded(rows) if not clone.dropping), key=lambda clone: clone.name)

    def find(self, name: str, *, forming: bool = False) -> Clone:
        """The clone of that name, one that is still being materialised only if ``forming``. Raises `NotFound`, naming
        those that there are."""
        clones = self.all()
        found = next((clone for clone in clones if clone.name == name), None)
        if found is None:
            there = ", ".join(clone.name for clone in clones) or "none"
            raise NotFound(
                f"site {self.identity.site} has no clone {name!r} of group {self.identity.group} (there are: {there})",
                hint="tidelog pitc clone makes one",
                group=self.identity.group,
            )
        if found.forming and not forming:
            raise still_forming(found)
        return found

    def refuse_clone_of(self, name: str) -> None:
        """Raises `UsageError` if that is a clone's name: a clone is made of a copy alone."""
        clone = next((clone for clone in self.all() if clone.name == name), None)
        if clone is None:
            return
        hint = f"clone the copy that it is of: {clone.base.name}, #{clone.base.sequence}"
        if clone.reached is not None:
            hint = "materialise the same moment again, under another name: tidelog group materialise"
        raise UsageError(f"{name} is a clone, and a clone is made of a copy alone", hint=hint)

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
            self._refuse_taken(name, rows)
            number = new_id()
            clone = Clone(number, name, replace(decode_copy(cast("bytes", record)), hold=number), time_us(now))
            return [*_put(keys, clone), (b"SET", keys.clone(number), live_token())], clone

        return self._change(plan)

    def begin(self, copy: Copy, name: str, moment: Moment) -> Clone:
        """A clone that is to be filled up to ``moment``: from the log, from a formed copy on or `NOTHING`, or from an
        archive (`archive_base`). See `fill`. Raises as `create`."""
        check_name("clone", name)
        keys = self._keys

        def plan() -> tuple[list[Command], Clone]:
            ask: list[Command] = standing(keys, replace(copy, hold="")) if copy.generation else []
            rebuild, now, rows, *found = self._keyspace.transact(
                [(b"GET", keys.rebuild), (b"TIME",), (b"HGETALL", keys.clones), *ask]
            )
            check_good(rebuild)
            self._refuse_taken(name, rows)
            number, base = new_id(), replace(copy, seal=origin(self.identity.group_id).seal)
            if copy.generation:
                check_readable(copy, *found)
                base = replace(decode_copy(cast("bytes", found[0])), hold=number)
            start = replace(base, generation=0, name=name, origin=CopyOrigin.TIME, hold="", blocks_changed=0)
            start = replace(start, locked_until_us=0, kept=False)
            clone = Clone(number, name, base, time_us(now), moment=moment, reached=start, forming=True)
            return [*_put(keys, clone), (b"SET", keys.clone(number), forming_token())], clone

        return self._change(plan)

    def fill(self, clone: Clone) -> CloneFill:
        """Fills a clone that is forming, from where it has come to; of several who do so the last goes on. Close it."""
        return CloneFill(self._keyspace, self.identity, clone)

    def drop(self, name: str, advance: Callable[[int], None] | None = None) -> Clone:
        """Drops a clone: from its first step on nobody reads or writes it, and its copy is no longer held. Returns when
        its blocks are gone; ``advance`` is told of the number gone since the last call.

        Cut short, it goes on by itself: a worker of the site, or the next drop of any clone, finds what is left.
        Raises `NotFound`.
        """
        keys = self._keys
        if (clone := self.find(name, forming=True)).forming and stop_filling(self._keyspace, keys, clone):
            self._change(lambda: ([], clone))  # so that the site's worker looks for what is left
            self.finish_drops(advance)
            return replace(clone, dropping=True)

        def plan() -> tuple[list[Command], Clone]:
            gone = replace(clone := self.find(name), dropping=True)
            return drop_commands(keys, clone, gone), gone

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

    def _refuse_taken(self, name: str, rows: Reply) -> None:
        if any(clone.name == name for clone in _decoded(rows) if not clone.dropping):
            raise AlreadyExists(
                f"a clone {name} of group {self.identity.group} is there already",
                hint="drop it, or choose another name",
                group=self.identity.group,
            )

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


def _put(keys: Keys, clone: Clone) -> list[Command]:
    """A new clone's record, and its hold on its copy if it has one."""
    commands: list[Command] = [(b"HSET", keys.clones, clone.field.encode(), encode_clone(clone))]
    if clone.base.generation:
        base = clone.base
        held = Hold(clone.id, base.generation, base.sequence, base.seal, HoldKind.CLONE, clone.name)
        commands.append((b"HSET", keys.holds, clone.id.encode(), encode_hold(held)))
    return commands


def _decoded(rows: Reply) -> list[Clone]:
    return [decode_clone(row) for row in cast("list[bytes]", rows)[1::2]]
