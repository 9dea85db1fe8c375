"""Commands in Redis's wire format, for the few kinds that an apply sends by the thousand.

A command is a tuple of arguments, or several at a time are a `Packed`: one %-format makes a whole SETRANGE with its key
in 0.9 us, where a key, a tuple and hiredis.pack_command take 1.8; and no object that the garbage collector must visit
is left behind. Keys have a fixed length (see `Keys.block_format`), so everything but the values is known beforehand.
"""

from collections.abc import Iterable, Sequence
from typing import TypeAlias, cast

import hiredis

from tidelog.stores.keys import Keys

Argument: TypeAlias = bytes | memoryview


class Packed:
    """``count`` commands in wire format, as pieces to be joined."""

    __slots__ = ("count", "pieces")

    def __init__(self, count: int, pieces: list[Argument]) -> None:
        self.count = count
        self.pieces = pieces


Command: TypeAlias = tuple[Argument, ...] | Packed


class VolumeFormats:
    """%-formats for the commands on one volume's blocks. ``set_range`` takes block, ``START[start]``, length and data;
    ``whole``, one pair of an MSET, takes block and length, the data follow; ``rename`` and ``copy``, which make a
    before-image, take the block twice."""

    __slots__ = ("block", "copy", "rename", "set_range", "whole")

    def __init__(self, keys: Keys, volume: int, generation: int) -> None:
        self.block = keys.block_format(volume)
        block = _bulk(self.block)
        before = _bulk(keys.before_format(generation, volume))
        self.set_range = b"*4\r\n$8\r\nSETRANGE\r\n" + block + b"%b$%d\r\n%b\r\n"
        self.whole = b"\r\n" + block + b"$%d\r\n"
        self.rename = b"*3\r\n$6\r\nRENAME\r\n" + block + before
        self.copy = copy_format(self.block, keys.before_format(generation, volume))


def copy_format(source: bytes, target: bytes) -> bytes:
    """A %-format of a COPY, from one key format to another; it takes the block twice. An absent source changes
    nothing: whoever wants it to be zeros there deletes the target first."""
    return b"*4\r\n$4\r\nCOPY\r\n" + _bulk(source) + _bulk(target) + b"$7\r\nREPLACE\r\n"


def _bulk(key_format: bytes) -> bytes:
    return b"$%d\r\n" % len(key_format % 0) + key_format + b"\r\n"


class _Starts(dict[int, bytes]):
    """The argument that says where in a block a write begins, made once for each start (at most 65,536)."""

    def __missing__(self, start: int) -> bytes:
        text = b"%d" % start
        self[start] = argument = b"$%d\r\n%b\r\n" % (len(text), text)
        return argument


START = _Starts()


def mset(pairs: list[Argument]) -> Packed:
    """One MSET of ``pairs``: `VolumeFormats.whole` filled in, data, and so on."""
    return Packed(1, [b"*%d\r\n$4\r\nMSET" % (len(pairs) + 1), *pairs, b"\r\n"])


def count(commands: Iterable[Command]) -> int:
    """How many commands these are."""
    return sum(command.count if isinstance(command, Packed) else 1 for command in commands)


def pack(commands: Iterable[Command]) -> list[Argument]:
    """The pieces of these commands in wire format."""
    pieces: list[Argument] = []
    for command in commands:
        if isinstance(command, Packed):
            pieces += command.pieces
        else:
            pieces.append(hiredis.pack_command(cast("tuple[bytes]", command)))
    return pieces


def unpack(commands: Sequence[Command]) -> list[tuple[bytes, ...]]:
    """Every single command, as a tuple of its arguments."""
    single: list[tuple[bytes, ...]] = []
    for command in commands:
        if isinstance(command, Packed):
            reader = hiredis.Reader()
            reader.feed(b"".join(command.pieces))
            single += (tuple(cast("list[bytes]", reader.gets())) for _ in range(command.count))
        else:
            single.append(tuple(map(bytes, command)))
    return single
