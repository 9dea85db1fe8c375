"""A sidefile: what a writer has accepted while Kafka was away, in a file of its own machine (DESIGN section 9).

A header says which head of which group's log it follows. Behind it come records, each with the length of its body, a
hash that continues the one of the record before, sealed as the group's events are, and a mark at its end. A body is an
event in the log's own encoding:

- `SENT`: an event that the session had handed to the log, unconfirmed, with the sequence and seal that it has there
  if it is in the log after all;
- `SPOOLED`: one that never was; what stands in it for sequence, epoch, writer and seals means nothing;
- `KEPT`: a note, in JSON: why the file is kept, and how many of its records are in the log. The last one counts.

A record that ends too early, or in zeros, at the end of the file was being written when the machine or the process
died: it was never acknowledged, and is cut off. Anything else that is not as it was written is damage, and refused.
"""

import errno
import json
import os
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Self

from tidelog.errors import CorruptEvent, SidefileDamaged, SidefileFull, SidefileInUse, UnsupportedEvent
from tidelog.producers.locked_file import lock, remove, same_file, sync_folder
from tidelog.producers.sidefile_header import HEADER_SIZE, MAGIC, Header, header_of, header_text
from tidelog.schemas.codec import MAX_MESSAGE_SIZE, SEAL_SIZE, Codec
from tidelog.schemas.events import Event

SENT, SPOOLED, KEPT = 1, 2, 3
_RECORD = struct.Struct(">BI8s16s")  # kind, length of the body, seal of these two, seal of all up to here
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Each record ends so: where the end of one did not get to the disk there are zeros in its place.
_END = b"\xed"
# What a record takes besides its body.
RECORD_OVERHEAD = _RECORD.size + len(_END)


class Cursor(NamedTuple):
    """A place between two records: the byte, and the chain's hash there."""

    position: int
    chain: bytes


class Entry(NamedTuple):
    """A record; ``event`` is None for a note, whose text is ``note``. ``after`` is where the next one begins."""

    kind: int
    event: Event | None
    note: dict[str, Any] | None
    after: Cursor


class Sidefile:
    """One file, open and, unless it is only looked at, locked by this process. Thread-safe.

    ``size`` is in bytes, all that counts; ``cut`` how many bytes of a record that was never whole were cut off;
    ``damage`` what it ends at, if it was opened to read what is whole of it.
    """

    def __init__(self, path: Path, descriptor: int, codec: Codec, header: Header, start: Cursor) -> None:
        self.path, self.header, self.start = path, header, start
        self._descriptor, self._codec = descriptor, codec
        self._lock = threading.Lock()
        self._end = start
        self._synced = 0
        self._broken: SidefileDamaged | None = None
        self.cut = 0
        self.damage: SidefileDamaged | None = None

    @classmethod
    def create(cls, path: Path, codec: Codec, header: Header) -> Self:
        """A new one, with nothing in it yet. Raises `SidefileInUse` if there is one, `OSError`."""
        while True:
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            except FileExistsError:
                raise in_use(path, header.group) from None
            # Whoever saw it empty before it was locked has taken it away as one that holds nothing.
            if lock(descriptor) and same_file(descriptor, path):
                break
            os.close(descriptor)
        try:
            text = header_text(header)
            os.pwrite(descriptor, text + codec.seal(text), 0)
            os.fsync(descriptor)
            sync_folder(path.parent)
        except BaseException:
            remove(path)
            os.close(descriptor)
            raise
        return cls(path, descriptor, codec, header, Cursor(HEADER_SIZE, codec.seal(text)))

    @classmethod
    def open(cls, path: Path, codec: Codec, *, looking: bool = False, whole: bool = True) -> Self | None:
        """The one that stands at ``path``, up to its last whole record; None if there is none, or an empty one, which
        is taken away. ``looking`` takes no lock and changes nothing; not ``whole``, it ends where it is damaged.

        Raises `SidefileInUse` (another process has it), `SidefileDamaged`, `OSError`.
        """
        try:
            descriptor = os.open(path, (os.O_RDONLY if looking else os.O_RDWR) | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            if not looking and not lock(descriptor):
                raise in_use(path, path.stem)
            found = cls._read(path, descriptor, codec) if same_file(descriptor, path) else None
            if found is not None:
                found._find_end(cut=not looking, whole=whole)
                return found
            if not looking and same_file(descriptor, path):
                remove(path)
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        return None

    @classmethod
    def _read(cls, path: Path, descriptor: int, codec: Codec) -> Self | None:
        start = os.pread(descriptor, HEADER_SIZE, 0)
        text, seal = start[:-SEAL_SIZE], start[-SEAL_SIZE:]
        if len(start) < HEADER_SIZE or (not os.pread(descriptor, 1, HEADER_SIZE) and not seal.strip(b"\0")):
            return None  # its header was never whole, so nothing was ever acknowledged
        if not text.startswith(MAGIC) or codec.seal(text) != seal:
            raise _damaged(path, 0, "its header was changed, or it was made with another key")
        return cls(path, descriptor, codec, header_of(text), Cursor(HEADER_SIZE, codec.seal(text)))

    def _find_end(self, *, cut: bool, whole: bool) -> None:
        length = os.fstat(self._descriptor).st_size
        with self._lock:
            while self._end.position < length:
                try:
                    entry = self._read_at(self._end, length)
                except SidefileDamaged as error:
                    if whole:
                        raise
                    self.damage = error
                    break
                if entry is None:
                    self.cut = length - self._end.position
                    if cut:
                        os.ftruncate(self._descriptor, self._end.position)
                        os.fsync(self._descriptor)
                    break
                self._end = entry.after
            self._synced = self._end.position

    @property
    def size(self) -> int:
        """Bytes."""
        return self._end.position

    def append(self, kind: int, body: bytes) -> None:
        """Adds a record; `sync` makes it durable. Raises `SidefileFull` if the disk has no room: nothing was added."""
        with self._lock:
            chain = self._chain(self._end, kind, body)
            head = _RECORD.pack(kind, len(body), self._codec.seal(self._head(self._end, kind, len(body)))[:8], chain)
            text = head + body + _END
            try:
                done = 0
                while done < len(text):
                    done += os.pwrite(self._descriptor, text[done:], self._end.position + done)
            except OSError as error:
                os.ftruncate(self._descriptor, self._end.position)
                if error.errno in _NO_ROOM:
                    raise SidefileFull(f"no room for sidefile {self.path}: {error.strerror}") from error
                raise _unwritable(self.path, error) from error
            self._end = Cursor(self._end.position + len(text), chain)

    def sync(self) -> None:
        """Everything that was added is on disk when this returns. Raises `SidefileDamaged` if that is unknown."""
        with self._lock:
            end = self._end.position
            if self._broken is not None:
                raise self._broken
            if self._synced < end:
                try:
                    os.fdatasync(self._descriptor)
                except OSError as error:
                    # A second try could succeed without having written what the first one lost.
                    self._broken = _unwritable(self.path, error)
                    raise self._broken from error
                self._synced = end

    def at(self, cursor: Cursor) -> Entry | None:
        """The record at ``cursor``, None at the end. Raises `SidefileDamaged`."""
        end = self._end.position
        if cursor.position >= end:
            return None
        entry = self._read_at(cursor, end)
        if entry is None:
            raise _damaged(self.path, cursor.position)
        return entry

    def entries(self) -> Iterator[Entry]:
        """All of them."""
        cursor = self.start
        while (entry := self.at(cursor)) is not None:
            yield entry
            cursor = entry.after

    def note(self, **said: Any) -> None:
        """Adds a `KEPT` note, durably."""
        self.append(KEPT, json.dumps(said).encode())
        self.sync()

    def remove(self) -> None:
        """Takes the file away, durably, and lets go of it."""
        remove(self.path)
        self.close()

    def close(self) -> None:
        """Lets go of the file: another process may take it. Harmless a second time."""
        with self._lock:
            descriptor, self._descriptor = self._descriptor, -1
            if descriptor >= 0:
                os.close(descriptor)

    @property
    def closed(self) -> bool:
        """Whether it was let go of."""
        return self._descriptor < 0

    def _head(self, before: Cursor, kind: int, length: int) -> bytes:
        return before.chain + bytes([kind]) + length.to_bytes(4, "big")

    def _chain(self, before: Cursor, kind: int, body: bytes) -> bytes:
        return self._codec.seal(self._head(before, kind, len(body)) + body)

    def _read_at(self, at: Cursor, end: int) -> Entry | None:
        """None for a record that was never whole. Raises `SidefileDamaged`."""
        head = os.pread(self._descriptor, _RECORD.size, at.position)
        rest = end - at.position
        if rest < _RECORD.size:
            return None
        kind, length, check, chain = _RECORD.unpack(head)
        if self._codec.seal(self._head(at, kind, length))[:8] != check:
            if self._is_zero(at.position + _RECORD.size, end) and not head[-SEAL_SIZE:].strip(b"\0"):
                return None
            raise _damaged(self.path, at.position)
        after = Cursor(at.position + _RECORD.size + length + len(_END), chain)
        if after.position > end:
            return None
        text = os.pread(self._descriptor, length + len(_END), at.position + _RECORD.size)
        body, mark = text[:length], text[length:]
        if mark != _END or self._chain(at, kind, body) != chain:
            if mark == bytes(len(_END)) and self._is_zero(after.position, end):
                return None
            raise _damaged(self.path, at.position)
        try:
            if kind == KEPT:
                return Entry(kind, None, json.loads(body), after)
            return Entry(kind, self._codec.decode(body), None, after)
        except (CorruptEvent, UnsupportedEvent, ValueError) as error:
            raise _damaged(self.path, at.position, str(error)) from error

    def _is_zero(self, start: int, end: int) -> bool:
        while start < end:
            part = os.pread(self._descriptor, min(end - start, MAX_MESSAGE_SIZE), start)
            if not part or part.strip(b"\0"):
                return not part
            start += len(part)
        return True


def in_use(path: Path, group: str) -> SidefileInUse:
    """What is said where another process has the file."""
    return SidefileInUse(
        f"another process has the sidefile {path}",
        group=group,
        hint="its writes come first: let that process drain it, or end it; see: tidelog sidefile list",
    )


def _damaged(path: Path, position: int, why: str = "it is not what was written there") -> SidefileDamaged:
    return SidefileDamaged(
        f"sidefile {path} is damaged at byte {position}: {why}",
        hint="nothing of it was drained; what is whole: tidelog sidefile show. To go on without it: tidelog sidefile"
        " keep GROUP",
    )


def _unwritable(path: Path, error: OSError) -> SidefileDamaged:
    return SidefileDamaged(
        f"sidefile {path} cannot be written to: {error.strerror}", hint="what was flushed stays in it"
    )
