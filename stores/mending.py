"""Mending one store by what is known to be right: blocks of its copies, change bitmaps, digests that it keeps.

A block of a copy is where its bits say: in the before-images of a generation, or live. Which that is may change while
one looks, so each change is an EXEC that is conditional on the position beside which the bits were read. It does not
move the position where only blocks are written, since no applier keeps their contents in mind: a worker goes on
undisturbed, as with holds (`tidelog.stores.holds`). Where bits change ``layout`` is raised, and the worker reads them
anew. What is right already is never written.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import cast

from tidelog.errors import SiteBehind, StoreUnavailable
from tidelog.schemas.volumes import VolumeInfo
from tidelog.stores.apart import places_apart
from tidelog.stores.bitmap import ChangeBitmap, byte_range
from tidelog.stores.bits import name_blocks, places_of, write_bits
from tidelog.stores.contents import Block
from tidelog.stores.digest import ERA, ERA_SIZE
from tidelog.stores.keys import Keys
from tidelog.stores.keyspace import Command, Keyspace
from tidelog.stores.placing import placing
from tidelog.stores.reading import check_readable, sources, standing
from tidelog.stores.records import decode_position, encode_position
from tidelog.stores.scars import between
from tidelog.stores.state import READ_TRIES, Tables, present, read_tables
from tidelog.stores.store import Copy, CopyState, Identity, Position
from tidelog.stores.watched import change_beside

BITS_MAX = 4096  # of one transaction


@placing
class Mending:
    """From `Store.mending`. Whoever mends holds the copies that are named here (`Store.hold`).

    Every method raises `NotFound` when such a copy is gone all the same, `NeedsRebuild` and `StoreUnavailable` as
    `Store` does, `StoreDamaged` for a key that is not even of its type.
    """

    def __init__(self, keyspace: Keyspace, identity: Identity) -> None:
        self.identity = identity
        self._keyspace, self._keys = keyspace, Keys(identity.group)

    def blocks(self, copy: Copy, newer: Copy | None, volume: VolumeInfo, right: Sequence[Block]) -> list[int]:
        """Makes blocks of a copy what they must be, a MiB or so in ascending order: in one EXEC, or not at all. The
        blocks that were not so before; content shorter than a block is padded with zeros.

        ``newer`` is the next copy that is known to be right (None: none is). A block that the copy shares with it is
        written where it is. One that was named before ``newer``, and that the copy has no before-image of, it shares
        with copies in between that nobody knows anything of: it gets one of its own, and they stay as they are.
        """
        wrong: list[int] = []

        def plan(value: bytes | None) -> list[Command] | None:
            position = decode_position(present(value))
            found = zip(right, self._stored(copy, volume, right), strict=True)
            differing = [(*one, place, key) for one, (place, key, there) in found if not _same(there, one[1])]
            wrong[:] = [one[0] for one in differing]
            shared: dict[int, int] = {}
            for block, _, place, _ in differing:
                if place is not None and copy.generation < place and (newer is None or place < newer.generation):
                    shared[block] = place
            moved = places_apart(self._keyspace, self._keys, copy, newer, volume.id, shared)
            commands: list[Command] = []
            for block, content, _, key in differing:
                key = self._keys.before_format(moved[block], volume.id) % block if block in moved else key
                commands.append((b"SET", key, content) if any(content) else (b"DEL", key))
            for generation in sorted(set(moved.values())):
                (bitmap,) = self._bitmaps(volume.id, [generation])
                blocks = [block for block, apart in moved.items() if apart == generation]
                commands += name_blocks(self._keys.bitmap(generation, volume.id), bitmap, blocks)
            if moved:
                commands.append(self._raised(position))
            return commands or None

        change_beside(self._keyspace, self._keys.position, plan, _restless())
        return wrong

    def swap(self, volume: VolumeInfo, blocks: Sequence[tuple[int, bytes | None, bytes]]) -> list[int]:
        """Makes live blocks what they must be: (block, what was seen there, what must be). One that holds something
        else than what was seen is let be: somebody has written there. The blocks that were changed."""
        block_of = self._keys.block_format(volume.id)
        wrong: list[int] = []

        def plan(value: bytes | None) -> list[Command] | None:
            present(value)
            wrong.clear()
            get = (b"MGET", *(block_of % block for block, _, _ in blocks))
            row, values = self._keyspace.transact([(b"HGET", self._keys.volumes, b"%d" % volume.id), get])
            if row is None:  # deleted meanwhile
                return None
            commands: list[Command] = []
            for (block, seen, content), there in zip(blocks, cast("list[bytes | None]", values), strict=True):
                if there == seen:
                    wrong.append(block)
                    commands.append((b"SET", block_of % block, content) if content else (b"DEL", block_of % block))
            return commands or None

        change_beside(self._keyspace, self._keys.position, plan, _restless())
        return wrong

    def bits(
        self, volume: int, elder: Copy | None, newer: Copy | None, missing: Collection[int], spurious: Collection[int]
    ) -> int:
        """Names the ``missing`` blocks between two copies (the beginning, now) unless they are named, where `places_of`
        says, and the ``spurious`` ones no more; how many bits that changed. Up to `BITS_MAX` of both.

        The before-image of a block that is no longer named goes with its bit: it is in nobody's way then. Raises
        `SiteBehind` while a late copy is being made.
        """
        changed = [0]

        def plan(value: bytes | None) -> list[Command] | None:
            position = decode_position(present(value))
            commands, changed[0] = self._bit_commands(volume, elder, newer, missing, spurious)
            if not changed[0]:
                return None
            return [*commands, self._raised(position)]

        change_beside(self._keyspace, self._keys.position, plan, _restless())
        return changed[0]

    def unname(self, copy: Copy, volume: int, named: Callable[[Position], ChangeBitmap]) -> int:
        """Names no more, since a copy, what is not in ``named`` at the position; how many bits that changed, up to
        `BITS_MAX` a generation. Before-images go as in `bits`. Raises what ``named`` does, and as `bits`."""
        changed = [0]

        def plan(value: bytes | None) -> list[Command] | None:
            position = decode_position(present(value))
            tables = read_tables(self._keyspace, self._keys)
            _refuse_late(tables)
            if position.step:
                raise SiteBehind("a large event is applied in part", hint="try again")
            right = named(position)
            commands: list[Command] = []
            changed[0] = 0
            generations = between(tables.copies.values(), copy.generation, position.generation + 1)
            for generation, bitmap in zip(generations, self._bitmaps(volume, generations), strict=True):
                out = (bitmap - right).take(BITS_MAX)
                changed[0] += len(out)
                commands += self._bits_to(volume, generation, bitmap, (), out)
            return [*commands, self._raised(position)] if changed[0] else None

        change_beside(self._keyspace, self._keys.position, plan, _restless())
        return changed[0]

    def kept(self, copy: Copy) -> dict[int, bytes]:
        """The digests that the store keeps of a copy, by volume id."""
        keys, volumes = self._keys, copy.volumes
        fields = [ERA, *(keys.digest_field(copy, volume) for volume in volumes)]
        era, *rows = self._keyspace.transact([(b"HGET", keys.digests, field) for field in fields])
        found = {volume.id: row for volume, row in zip(volumes, rows, strict=True) if isinstance(row, bytes)}
        return {number: row[ERA_SIZE:] for number, row in found.items() if row[:ERA_SIZE] == era}

    def digests(
        self, right: Iterable[tuple[Copy, VolumeInfo, bytes]], doubtful: Iterable[Copy], *, tell: bool = False
    ) -> int:
        """Has the store keep these digests, and forget those of ``doubtful`` copies; how many were kept otherwise.

        If any was, or to ``tell`` the worker to send its receipts anew, `layout` is raised.
        """
        keys, rows, others = self._keys, list(right), list(doubtful)
        fields = [keys.digest_field(copy, volume) for copy, volume, _ in rows]
        away = [keys.digest_field(copy, volume) for copy in others for volume in copy.volumes]
        changed = [0]

        def plan(value: bytes | None) -> list[Command] | None:
            position = decode_position(present(value))
            era, *kept = self._keyspace.transact(
                [(b"HGET", keys.digests, ERA), *((b"HGET", keys.digests, field) for field in fields + away)]
            )
            commands: list[Command] = []
            for field, (_, _, digest), row in zip(fields, rows, kept[: len(fields)], strict=True):
                known = isinstance(era, bytes) and isinstance(row, bytes) and row[:ERA_SIZE] == era
                if known and row[ERA_SIZE:] != digest:  # type: ignore[index]
                    commands.append((b"HSET", keys.digests, field, cast("bytes", era) + digest))
            changed[0] = len(commands)
            if away and any(row is not None for row in kept[len(fields) :]):
                commands.append((b"HDEL", keys.digests, *away))
            if not commands and not tell:
                return None
            return [*commands, self._raised(position)]

        change_beside(self._keyspace, keys.position, plan, _restless())
        return changed[0]

    def named_since(self, copy: Copy) -> tuple[Position, dict[int, ChangeBitmap]]:
        """The blocks that events have named since a copy, of live volumes and its own, by id, and the position then."""
        for _ in range(READ_TRIES):
            tables = read_tables(self._keyspace, self._keys)
            generations = between(tables.copies.values(), copy.generation, tables.position.generation + 1)
            ids = sorted({volume.id for volume in (*tables.volumes, *copy.volumes)})
            of = [(b"GET", self._keys.bitmap(one, volume)) for volume in ids for one in generations]
            position, *bitmaps = self._keyspace.transact([(b"GET", self._keys.position), *of])
            if decode_position(present(position)) != tables.position:
                continue
            found: dict[int, ChangeBitmap] = {}
            for index, bitmap in enumerate(bitmaps):
                volume = ids[index // len(generations)]
                found.setdefault(volume, ChangeBitmap()).merge(ChangeBitmap(cast("bytes | None", bitmap)))
            return tables.position, found
        raise _restless()

    def live(self, volume: VolumeInfo, blocks: Sequence[int]) -> tuple[Position, list[bytes | None]]:
        """Live blocks as they are stored, and the position then."""
        get: Command = (b"MGET", *(self._keys.block_format(volume.id) % block for block in blocks))
        position, values = self._keyspace.transact([(b"GET", self._keys.position), get])
        return decode_position(present(position)), cast("list[bytes | None]", values)

    def _raised(self, position: Position) -> Command:
        """Has appliers read anew what they keep in mind."""
        return b"SET", self._keys.position, encode_position(replace(position, layout=position.layout + 1))

    def _stored(
        self, copy: Copy, volume: VolumeInfo, right: Sequence[Block]
    ) -> list[tuple[int | None, bytes, bytes | None]]:
        """Of each block the generation that the copy reads it from (None: live), the key there and its value."""
        keys, base = self._keys, right[0][0] & ~7
        wanted = ChangeBitmap()
        for block, _ in right:
            wanted.add(block - base)
        low, high = byte_range(base, base + len(wanted.bits) * 8)
        names, record, hold = self._keyspace.transact([(b"HKEYS", keys.copies), *standing(keys, copy)])
        check_readable(copy, record, hold)
        generations = sorted(int(name) for name in cast("list[bytes]", names) if int(name) >= copy.generation)
        layers = self._keyspace.transact(
            [(b"GETRANGE", keys.bitmap(one, volume.id), b"%d" % low, b"%d" % (high - 1)) for one in generations]
        )
        places: dict[int, tuple[int | None, bytes]] = {}
        truth = sources(dict(zip(generations, cast("list[bytes]", layers), strict=True)), wanted)
        for place, blocks in truth.items():
            key_of = keys.block_format(volume.id) if place is None else keys.before_format(place, volume.id)
            places.update((base + block, (place, key_of % (base + block))) for block in blocks.blocks())
        ordered = [places[block] for block, _ in right]
        (values,) = self._keyspace.transact([(b"MGET", *(key for _, key in ordered))])
        found = zip(ordered, cast("list[bytes | None]", values), strict=True)
        return [(place, key, value) for (place, key), value in found]

    def _bit_commands(
        self, volume: int, elder: Copy | None, newer: Copy | None, missing: Collection[int], spurious: Collection[int]
    ) -> tuple[list[Command], int]:
        tables = read_tables(self._keyspace, self._keys)
        _refuse_late(tables)
        end = newer.generation if newer is not None else tables.position.generation + 1
        generations = between(tables.copies.values(), elder.generation if elder is not None else 0, end)
        bitmaps = dict(zip(generations, self._bitmaps(volume, generations), strict=True))
        commands, changed = list[Command](), 0
        unnamed = [block for block in missing if not any(block in one for one in bitmaps.values())]
        places = places_of(self._keyspace, self._keys, volume, generations, unnamed)
        for generation, bitmap in bitmaps.items():
            out = [block for block in spurious if block in bitmap]
            into = [block for block in unnamed if places[block] == generation]
            commands += self._bits_to(volume, generation, bitmap, into, out)
            changed += len(into) + len(out)
        return commands, changed

    def _bits_to(
        self, volume: int, generation: int, bitmap: ChangeBitmap, into: Collection[int], out: Collection[int]
    ) -> list[Command]:
        """Sets and clears bits of one generation's bitmap."""
        for block in into:
            bitmap.add(block)
        for block in out:
            bitmap.discard_range(block, block + 1)
        touched = sorted((*into, *out))
        before_of = self._keys.before_format(generation, volume)
        key = self._keys.bitmap(generation, volume)
        commands = [write_bits(key, bitmap, touched[0], touched[-1] + 1)] if touched else []
        if out:
            commands.append((b"DEL", *(before_of % block for block in out)))
        return commands

    def _bitmaps(self, volume: int, generations: list[int]) -> list[ChangeBitmap]:
        commands: list[Command] = [(b"GET", self._keys.bitmap(generation, volume)) for generation in generations]
        replies = self._keyspace.transact(commands) if commands else []
        return [ChangeBitmap(cast("bytes | None", reply)) for reply in replies]


def in_pieces(blocks: ChangeBitmap) -> Iterator[list[int]]:
    """The blocks, as many at a time as `Mending.bits` takes."""
    rest = ChangeBitmap(blocks.bits)
    while rest.count:
        yield rest.take(BITS_MAX)


def _same(there: bytes | None, right: bytes) -> bool:
    """Whether a block holds ``right``; zeros at the end, or nothing, are zeros."""
    return (there or b"").rstrip(b"\0") == right.rstrip(b"\0")


def _refuse_late(tables: Tables) -> None:
    if tables.forming is not None or any(copy.state is CopyState.FORMING for copy in tables.copies.values()):
        raise SiteBehind("a late copy is being made, and its bits are on their way", hint="try again when it is there")


def _restless() -> StoreUnavailable:
    return StoreUnavailable("the store never stands still for long enough to be mended", hint="try again")
