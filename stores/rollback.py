"""Rolling a store back to an elder copy, because what it holds behind that is not in the log any more (DESIGN 9).

1. One EXEC cuts a copy ``lost-tail`` of the live image as it is, marks every copy behind the elder one as of a lost
   history, and puts another name in the position's place (`ROLLING`): no worker applies from then on, nobody reads.
2. Block by block, of all that was named since the elder copy: the live block becomes the before-image of ``lost-tail``
   (RENAME), and what the elder copy has comes in its place (COPY). Volumes that are younger than the elder copy lose
   all their live blocks to ``lost-tail``, since the present history may give their ids, which are sequences, to others.
3. One EXEC sets the volume tables, the pairs of volumes and the position to those of the elder copy, and begins the
   generation that the present history goes on in (`tidelog.stores.scars`).

The bitmap of ``lost-tail`` tells what is done: cut short anywhere, `Rollback.steps` goes on. Every EXEC is conditional
on the position's key and changes it, so of two at once one ends. Memory: bitmaps; blocks stay in Redis.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Self, cast

from tidelog.errors import NotFound, StoreUnavailable
from tidelog.names import LOST
from tidelog.schemas.chain import Head
from tidelog.stores.began import Began, decode_began, encode_began
from tidelog.stores.bitmap import ChangeBitmap
from tidelog.stores.changes import pairs_at
from tidelog.stores.copy_changes import relocated
from tidelog.stores.cut import GENERATION_STEP, new_generation
from tidelog.stores.forgotten import forgotten_since
from tidelog.stores.keys import Keys
from tidelog.stores.keyspace import Command, Keyspace, PositionMoved
from tidelog.stores.pairs import copied_pairs
from tidelog.stores.placing import placing
from tidelog.stores.records import decode_copy, decode_position, encode_copy, encode_position, encode_volume
from tidelog.stores.rollback_blocks import read_volumes, rests_of
from tidelog.stores.state import ROLLING, present, read_image
from tidelog.stores.store import Copy, CopyOrigin, CopyState, Identity, Position

LOST_TAIL = f"{LOST}tail"
# While it lasts the store must not be called good, whatever it has applied: beyond all sequences, and no erase.
MARK = (1 << 62) - 1
NAME_LENGTH_MAX = 63


@placing
class Rollback:
    """See the module. Close it, or use it as a context manager; not thread-safe.

    Every method raises `StoreUnavailable` when Redis does not answer, or another process changed the store meanwhile.
    """

    def __init__(self, keyspace: Keyspace, identity: Identity) -> None:
        self.identity = identity
        self._keyspace, self._keys = keyspace, Keys(identity.group)
        self._session = keyspace.session(self._keys.position)
        self._value = b""
        self.done = self.total = 0  # blocks

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection."""
        self._session.close()

    def under_way(self) -> Copy | None:
        """The copy ``lost-tail`` of a roll back that has begun and not ended; None if there is none."""
        (value,) = self._keyspace.transact([(b"GET", self._keys.position)])
        if not isinstance(value, bytes) or not value.startswith(ROLLING):
            return None
        return self._copies()[_position(value).generation]

    def records(self) -> list[Copy]:
        """All copies that the store has a record of, by generation, also while nobody may read them."""
        return list(self._copies().values())

    @property
    def half_made(self) -> bool:
        """Whether a late copy is on its way, which an applier must end or take away first."""
        (forming,) = self._keyspace.transact([(b"GET", self._keys.forming)])
        return forming is not None or any(one.state is CopyState.FORMING for one in self._copies().values())

    def cut_tail(self) -> Copy:
        """Cuts ``lost-tail`` and does nothing else: for who is about to erase what is there. Raises `NeedsRebuild`."""
        position, commands, tail = self._cut(0)
        self._send(commands, encode_position(position))
        return tail

    def begin(self, stands: Head, copy: Copy, head: Head, cluster_id: str) -> None:
        """Begins to go back from ``stands``, where the store is, to ``copy``, whose last event is ``head`` in the log
        of ``cluster_id`` as it is now. Raises `NeedsRebuild`; `RollingBack` if one is under way; `NotFound` if the copy
        has been dropped, and nothing has changed."""
        base = self._base(copy)
        position, commands, tail = self._cut(base)
        if (position.head.sequence, position.head.seal) != (stands.sequence, stands.seal):
            raise self._moved_on()
        copies = self._copies()  # of the watched position: whoever changes them changes that
        there = copies.get(copy.generation)
        if base != self._base(copy):  # another roll back has ended since, or what one left behind was dropped
            raise self._moved_on()
        if there is None or there.state is not CopyState.FORMED or there.seal != copy.seal:
            raise NotFound(f"copy {copy.name}, which was to be gone back to, is not here any more", hint="run it again")
        for one in copies.values():
            if base < one.generation and one.origin not in (CopyOrigin.LOST, CopyOrigin.ROLLBACK):
                lost = replace(one, origin=CopyOrigin.LOST, name=(LOST + one.name)[:NAME_LENGTH_MAX])
                commands.append((b"HSET", self._keys.copies, b"%d" % one.generation, encode_copy(lost)))
        commands.append((b"SET", self._keys.rebuild, b"%d" % MARK))
        target = Position(head, cluster_id, position.layout, tail.generation)
        self._send(commands, ROLLING + encode_position(target))

    def steps(self, offsets: Mapping[tuple[int, bytes], int] | None = None) -> Iterator[int]:
        """Does all that is left, a bounded number of blocks at a time; yields how many it has done, of `total`. At the
        end the store is at the copy, to be read once `Store.end_rebuild` was called, by whoever applies to it next.

        ``offsets`` are those of other copies' events in the log as it is now, by sequence and seal.
        """
        self._value = self._begun()
        position = _position(self._value)
        rests = list(rests_of(self._keyspace, self._keys, position, self._copies()))
        self.total = sum(rest.count for rest in rests)
        for rest in rests:
            for count, commands in rest.steps(self._keys, position.generation):
                self._advance(commands)
                self.done += count
                yield self.done
        self._finish(offsets or {})
        yield self.done

    def relocate(self, head: Head, cluster_id: str, offsets: Mapping[tuple[int, bytes], int]) -> None:
        """For a store whose head is in the log as it is now, at another offset or on another cluster: sets where, and
        of copies, as in `steps`."""
        value = present(self._session.begin())
        position = decode_position(value)
        if (position.head.sequence, position.head.seal) != (head.sequence, head.seal):
            raise self._moved_on()
        moved = replace(position, head=head, cluster_id=cluster_id, layout=position.layout + 1)
        commands = [
            (b"HSET", self._keys.copies, b"%d" % one.generation, encode_copy(one))
            for one in relocated(self._copies().values(), offsets, cluster_id)
        ]
        # The mark is at its goal already: it has a worker that has halted begin anew.
        self._send([*commands, (b"SET", self._keys.rebuild, b"%d" % head.sequence)], encode_position(moved))

    # --- the beginning ---

    def _cut(self, base: int) -> tuple[Position, list[Command], Copy]:
        """The position behind the cut of ``lost-tail``, and the commands that cut it."""
        value = present(self._session.begin())
        image = read_image(self._keyspace, self._keys)
        if encode_position(image.position) != value:
            raise self._moved_on()
        if self.half_made:
            raise StoreUnavailable("a late copy is half made", hint="run it again")
        head = image.position.head
        event = head.epoch, head.writer, head.offset, image.position.cluster_id
        origin = CopyOrigin.LOST
        tail = Copy(0, head.sequence, head.seal, LOST_TAIL, head.timestamp_us, (), 0, *event, origin=origin, base=base)
        commands = new_generation(image, self._keys, tail, self._read)
        return image.position, commands, image.copies[image.position.generation]

    def _base(self, copy: Copy) -> int:
        """The generation to go back to: the youngest that stands where ``copy`` does, so that no block is moved twice
        that an earlier roll back to the same copy has moved."""
        copies = self._copies()
        base = copy.generation
        while again := [one.generation for one in copies.values() if one.base == base and _ended(one)]:
            base = max(again)
        return base

    def _copies(self) -> dict[int, Copy]:
        (rows,) = self._keyspace.transact([(b"HGETALL", self._keys.copies)])
        found = sorted(map(decode_copy, cast("list[bytes]", rows)[1::2]), key=lambda copy: copy.generation)
        return {copy.generation: copy for copy in found}

    def _begun(self) -> bytes:
        value = self._session.begin()
        if value is None or not value.startswith(ROLLING):
            raise self._moved_on()
        return value

    # --- the end ---

    def _finish(self, offsets: Mapping[tuple[int, bytes], int]) -> None:
        keys, position, copies = self._keys, _position(self._value), self._copies()
        head, tail = position.head, copies[position.generation]
        base = copies[tail.base]
        generation = tail.generation + GENERATION_STEP
        pairs = pairs_at(self._keyspace, keys, base.generation)
        commands = [*self._set_tables(base, copies), *self._set_pairs(base.sequence)]
        commands += forgotten_since(self._keyspace, keys, head.timestamp_us)
        for one in copies.values():
            offset = head.offset if one is base else offsets.get((one.sequence, one.seal))
            if one.origin is not CopyOrigin.LOST and one.generation <= base.generation and offset is not None:
                moved = replace(one, offset=offset, cluster_id=position.cluster_id)
                commands.append((b"HSET", keys.copies, b"%d" % one.generation, encode_copy(moved)))
        event = head.epoch, head.writer, head.offset, position.cluster_id
        end = Copy(generation, head.sequence, head.seal, "", base.timestamp_us, base.volumes, 0, *event,
                   state=CopyState.DROPPING, origin=CopyOrigin.ROLLBACK, base=base.generation)  # fmt: skip
        commands.append((b"HSET", keys.copies, b"%d" % generation, encode_copy(end)))
        commands += copied_pairs(pairs, generation, keys)
        # What the lost history dropped is gone, whatever the present one has.
        (begun,) = self._keyspace.transact([(b"GET", keys.begun)])
        began = Began(head.sequence, decode_began(begun).timestamp_us)
        commands.append((b"SET", keys.begun, encode_began(began)))
        commands.append((b"SET", keys.rebuild, b"%d" % head.sequence))
        self._send(commands, encode_position(replace(position, layout=position.layout + 1, generation=generation)))

    def _set_tables(self, base: Copy, copies: Mapping[int, Copy]) -> Iterator[Command]:
        """The volume table of the copy; what came after it is deleted, and stays while a copy has it."""
        keys = self._keys
        live, deleted = read_volumes(self._keyspace, keys)
        listed = {volume.id for copy in copies.values() for volume in copy.volumes}
        for volume in base.volumes:
            yield b"HSET", keys.volumes, b"%d" % volume.id, encode_volume(volume)
            yield b"HDEL", keys.deleted, b"%d" % volume.id
        for number in live.keys() - {volume.id for volume in base.volumes}:
            yield b"HDEL", keys.volumes, b"%d" % number
            yield b"HSET", keys.deleted, b"%d" % number, encode_volume(live[number])
        for number in deleted.keys() - listed:
            if number > base.sequence:
                yield b"HDEL", keys.deleted, b"%d" % number
                yield b"DEL", *(keys.bitmap(generation, number) for generation in (0, *copies))

    def _set_pairs(self, sequence: int) -> Iterator[Command]:
        """The pairs of volumes as they were at the copy."""
        keys, tail = self._keys, self._copies()[_position(self._value).generation]
        (fields,) = self._keyspace.transact([(b"HKEYS", keys.pairs)])
        for field in cast("list[bytes]", fields):
            yield b"HDEL", keys.pairs, field
            yield b"DEL", keys.prefix + b"p:" + field
        for pair, bitmap in pairs_at(self._keyspace, keys, tail.base).items():
            yield b"HSET", keys.pairs, keys.pair_field(*pair), b"%d" % sequence
            yield b"SET", keys.pair_bitmap(*pair), bytes(bitmap.bits)

    # --- transactions ---

    def _advance(self, commands: list[Command]) -> None:
        position = _position(self._value)
        self._send(commands, ROLLING + encode_position(replace(position, layout=position.layout + 1)))

    def _send(self, commands: list[Command], value: bytes) -> None:
        self._session.submit([*commands, (b"SET", self._keys.position, value)])
        try:
            found = self._session.settle()
        except PositionMoved as error:
            raise self._moved_on() from error
        if found != value:
            raise self._moved_on()
        self._value = value

    def _read(self, volume: int, generations: list[int]) -> list[ChangeBitmap]:
        commands: list[Command] = [(b"GET", self._keys.bitmap(generation, volume)) for generation in generations]
        replies = self._keyspace.transact(commands) if commands else []
        return [ChangeBitmap(cast("bytes | None", reply)) for reply in replies]

    def _moved_on(self) -> StoreUnavailable:
        return StoreUnavailable(
            "another process changes this store", hint="is another roll back, or a rebuild, running? try again"
        )


def _position(value: bytes) -> Position:
    return decode_position(value.removeprefix(ROLLING))


def _ended(copy: Copy) -> bool:
    return copy.origin is CopyOrigin.ROLLBACK
