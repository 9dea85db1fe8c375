"""Reading live volumes and copies while an applier writes, cuts and drops: each MULTI checks what it has read."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, cast

from tidelog.errors import NotFound, OutOfBounds, SiteBehind, StoreUnavailable
from tidelog.schemas.chain import Head
from tidelog.schemas.volumes import VolumeInfo
from tidelog.stores.bitmap import ChangeBitmap, byte_range
from tidelog.stores.keys import Keys
from tidelog.stores.keyspace import Command, Keyspace, Reply
from tidelog.stores.records import decode_copy, decode_position, decode_volume
from tidelog.stores.state import READ_TRIES, present
from tidelog.stores.store import Copy, CopyState

# One MULTI reads at most so much, so that Redis is not busy for long with one reader: 16 MiB take it some 10 ms.
READ_BYTES_MAX = 16 << 20
CHUNK_BYTES = 4 << 20
# How long a live read waits for an event that is being applied in steps.
STEP_WAIT_SECONDS = 10.0
# Of so few blocks a read of a copy asks the live image at once, beside where they are: a round trip costs more than
# blocks that are asked for in vain.
GUESSED_BLOCKS_MAX = 64
_NO_BLOCKS = ChangeBitmap()


class Fetch(NamedTuple):
    """How blocks are asked for by their keys, and what the replies say of each; None for one that is all zeros."""

    commands: Callable[[list[bytes]], list[Command]]
    contents: Callable[[Sequence[Reply]], list[bytes | None]]


WHOLE = Fetch(lambda keys: [(b"MGET", *keys)], lambda replies: cast("list[bytes | None]", replies[0]))


class LiveReader:
    """Reads of the live image."""

    def __init__(self, keyspace: Keyspace, keys: Keys) -> None:
        self._keyspace = keyspace
        self._keys = keys

    def read(self, volume: VolumeInfo, offset: int, length: int) -> tuple[bytes, Head]:
        """Bytes and the head at which they stood so: one state for the whole length.

        Up to `READ_BYTES_MAX` that is one MULTI and cannot fail; beyond, the parts must meet the store at one position:
        `StoreUnavailable` if it moves each time (read a copy instead). Raises `OutOfBounds`, `NotFound`, `SiteBehind`.
        """
        for _ in range(READ_TRIES):
            parts: list[bytes] = []
            heads: set[Head] = set()
            at = 0
            while len(heads) < 2 and (at < length or not parts):
                count = min(READ_BYTES_MAX, length - at)
                part, head = self._read(volume, offset + at, count)
                parts.append(part)
                heads.add(head)
                at += count
            if len(heads) == 1:
                return (parts[0] if len(parts) == 1 else b"".join(parts)), heads.pop()
        raise StoreUnavailable(
            f"volume {volume.name} changes faster than {length} bytes of it can be read",
            hint="read from a copy instead",
        )

    def _read(self, volume: VolumeInfo, offset: int, length: int) -> tuple[bytes, Head]:
        first, end = _block_span(volume, offset, length)
        block_of = self._keys.block_format(volume.id)
        commands: list[Command] = [
            (b"GET", self._keys.position),
            (b"GET", self._keys.rebuild),
            (b"HGET", self._keys.volumes, b"%d" % volume.id),
        ]
        if end > first:
            commands.append((b"MGET", *(block_of % block for block in range(first, end))))
        deadline = time.monotonic() + STEP_WAIT_SECONDS
        while True:
            value, rebuild, row, *blocks = self._keyspace.transact(commands)
            check_good(rebuild)
            position = decode_position(present(value))
            if not position.step:
                break
            if time.monotonic() > deadline:
                raise SiteBehind("a large event is applied in part", hint="is the site's worker running?")
            time.sleep(0.005)  # between the steps of one event there is no state to read
        if row is None:
            raise NotFound(f"volume {volume.name} does not exist at sequence {position.head.sequence}")
        _check_bounds(decode_volume(cast("bytes", row)), offset, length)
        contents = cast("list[bytes | None]", blocks[0]) if blocks else []
        whole = _assembled(contents, volume.block_size)
        skip = offset - first * volume.block_size
        return whole[skip : skip + length], position.head


class Generations:
    """Which generations there were when anybody looked last: a hint, so that not each reader has to ask first."""

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        self._seen: list[int] | None = None

    def since(self, first: int) -> list[int] | None:
        """Those from generation ``first`` on; None if nobody has looked."""
        return None if self._seen is None else [generation for generation in self._seen if generation >= first]

    def look(self, names: Sequence[bytes], first: int) -> list[int]:
        """Those that are among the fields of ``copies`` now, from generation ``first`` on."""
        self._seen = now = sorted(int(name) for name in names)
        return [generation for generation in now if generation >= first]


class CopyReader:
    """Reads of one volume as it was in one copy: the first generation, at or after the copy's, whose bit is set, else
    the live block. Which that is may change between looking and fetching: every fetch reads the bits again in the same
    MULTI, and fetches anew what was looked for in the wrong place.

    ``while_rebuilding`` allows reading a store that is being rebuilt, for the site's own receipts. An erase takes the
    position first, so a fetch that sees none may have read blocks that are gone as zeros: `NeedsRebuild`. ``fetch``
    says what of each block is read; ``generations`` is shared by the readers of a store. Thread-safe.
    """

    def __init__(
        self,
        keyspace: Keyspace,
        keys: Keys,
        volume: VolumeInfo,
        copy: Copy,
        *,
        while_rebuilding: bool = False,
        fetch: Fetch = WHOLE,
        generations: Generations | None = None,
    ) -> None:
        found = next((known for known in copy.volumes if known.id == volume.id), None)
        if found is None:
            raise NotFound(f"copy {copy.name} has no volume {volume.name}")
        self.volume = found
        self._keyspace = keyspace
        self._keys = keys
        self._copy = copy
        self._while_rebuilding = while_rebuilding
        self._fetch = fetch
        self._generations = generations or Generations()

    def read(self, offset: int, length: int) -> bytes:
        """Raises `OutOfBounds`; `NotFound` if the copy is gone; `StoreUnavailable` after bounded tries."""
        return b"".join(self.stream(offset, length))

    def stream(self, offset: int, length: int) -> Iterator[bytes]:
        """The same in parts of at most `CHUNK_BYTES`."""
        _check_bounds(self.volume, offset, length)
        first, end = _block_span(self.volume, offset, length)
        size = self.volume.block_size
        for start in range(first, end, CHUNK_BYTES // size):
            stop = min(end, start + CHUNK_BYTES // size)
            wanted = ChangeBitmap()
            wanted.add_range(start & 7, stop - start + (start & 7))
            found = self.blocks(start & ~7, wanted)
            part = _assembled([found.get(block) for block in range(start, stop)], size)
            low = max(0, offset - start * size)
            yield part[low : offset + length - start * size]

    def blocks(self, base: int, wanted: ChangeBitmap) -> dict[int, bytes]:
        """The contents of the blocks ``base`` + n for all n in ``wanted``; absent ones are all zeros. ``base`` is a
        multiple of 8."""
        found: dict[int, bytes] = {}
        low, high = byte_range(base, base + len(wanted.bits) * 8)
        guess = self._guess(wanted)
        for _ in range(READ_TRIES):
            places = [(source, block) for source, blocks in guess.items() for block in blocks.blocks()]
            generations = self._generations.since(self._copy.generation)
            commands = self._commands(base, (low, high), generations or [], places)
            names, record, hold, rebuild, position, *replies = self._keyspace.transact(commands)
            self._check(record, hold, rebuild, position)
            if generations != self._generations.look(cast("list[bytes]", names), self._copy.generation):
                guess = self._guess(wanted)  # a cut or drop came in between, or this is the first look
                continue
            assert generations is not None
            truth = sources(dict(zip(generations, cast("list[bytes]", replies), strict=False)), wanted)
            if places:
                contents = self._fetch.contents(replies[len(generations) :])
                right = {source: blocks & truth.get(source, _NO_BLOCKS) for source, blocks in guess.items()}
                for (source, block), content in zip(places, contents, strict=True):
                    if content is not None and block in right[source]:
                        found[base + block] = content
                for blocks in right.values():
                    wanted = wanted - blocks
            if not wanted.count:
                return found
            guess = {source: blocks & wanted for source, blocks in truth.items()}
        raise StoreUnavailable(f"copy {self._copy.name} changes its place faster than it can be read")

    def _guess(self, wanted: ChangeBitmap) -> dict[int | None, ChangeBitmap]:
        """Where a few blocks are looked for while their bits are."""
        looked = self._generations.since(self._copy.generation) is not None
        return {None: wanted} if looked and wanted.count <= GUESSED_BLOCKS_MAX else {}

    def _commands(
        self, base: int, span: tuple[int, int], generations: list[int], places: list[tuple[int | None, int]]
    ) -> list[Command]:
        keys, volume = self._keys, self.volume.id
        commands: list[Command] = [
            (b"HKEYS", keys.copies),
            *standing(keys, self._copy),
            (b"GET", keys.rebuild),
            (b"GET", keys.position),
        ]
        low, high = span
        for generation in generations:
            commands.append((b"GETRANGE", keys.bitmap(generation, volume), b"%d" % low, b"%d" % (high - 1)))
        if places:
            formats = {generation: keys.before_format(generation, volume) for generation in generations}
            live = keys.block_format(volume)
            commands += self._fetch.commands(
                [(live if source is None else formats[source]) % (base + block) for source, block in places]
            )
        return commands

    def _check(self, record: Reply, hold: Reply, rebuild: Reply, position: Reply) -> None:
        if not self._while_rebuilding:
            check_good(rebuild)
        present(position)
        check_readable(self._copy, record, hold)


def standing(keys: Keys, copy: Copy) -> list[Command]:
    """What to ask beside any read of a copy; the two replies are for `check_readable`."""
    return [(b"HGET", keys.copies, b"%d" % copy.generation), (b"HGET", keys.holds, copy.hold.encode())]


def check_readable(copy: Copy, record: Reply, hold: Reply) -> None:
    """Raises `NotFound` unless ``record``, as stored for its generation, is ``copy``, and is formed, or held by whoever
    asks: while a hold is there, its copy's blocks are (see `tidelog.stores.drop`)."""
    now = decode_copy(record) if isinstance(record, bytes) else None
    if now is None or (now.sequence, now.seal) != (copy.sequence, copy.seal):
        raise NotFound(f"copy {copy.name} (sequence {copy.sequence}) is not here any more")
    if now.state is not CopyState.FORMED and hold is None:
        raise NotFound(f"copy {copy.name} (sequence {copy.sequence}) is being dropped")


def check_good(rebuild: Reply) -> None:
    """Raises `SiteBehind` while a rebuild is under way."""
    if rebuild is not None:
        raise SiteBehind(
            f"the site is being rebuilt, up to sequence {int(cast('bytes', rebuild))}",
            hint="wait for it: tidelog site status",
        )


def sources(layers: Mapping[int, bytes | bytearray], wanted: ChangeBitmap) -> dict[int | None, ChangeBitmap]:
    """Where each wanted block is: by generation, None for the live image; only where any is. ``layers`` are the
    generations' bitmaps, as strings. On integers: there may be a thousand generations."""
    size = len(wanted.bits)
    rest = int.from_bytes(wanted.bits)
    found: dict[int | None, ChangeBitmap] = {}
    for generation in sorted(layers):
        if not rest:
            break
        layer = layers[generation]
        here = rest & (int.from_bytes(layer[:size]) << 8 * max(0, size - len(layer)))
        if here:
            found[generation] = ChangeBitmap(here.to_bytes(size))
            rest ^= here
    if rest:
        found[None] = ChangeBitmap(rest.to_bytes(size))
    return found


def _assembled(blocks: list[bytes | None], block_size: int) -> bytes:
    zeros = bytes(block_size)
    return b"".join(
        zeros if block is None else block if len(block) == block_size else block.ljust(block_size, b"\0")
        for block in blocks
    )


def _block_span(volume: VolumeInfo, offset: int, length: int) -> tuple[int, int]:
    """First block and the one behind the last; of nothing if ``length`` is 0."""
    if offset < 0 or length < 0:
        raise OutOfBounds(f"offset {offset} and length {length} of volume {volume.name} must not be negative")
    first = offset // volume.block_size
    return first, -(-(offset + length) // volume.block_size) if length else first


def _check_bounds(volume: VolumeInfo, offset: int, length: int) -> None:
    if offset < 0 or length < 0 or offset + length > volume.size:
        raise OutOfBounds(f"{offset} to {offset + length} is outside volume {volume.name} of {volume.size} bytes")
