"""A volume as a binary file object."""

import io
from collections.abc import Callable
from typing import Protocol


class ReadableVolume(Protocol):
    """What a file object needs for reading: a size in bytes, and bytes at an offset."""

    @property
    def name(self) -> str: ...
    @property
    def size(self) -> int: ...
    def read(self, offset: int, length: int) -> bytes: ...


class WritableVolume(ReadableVolume, Protocol):
    """And what it needs for writing. ``flush`` returns when everything written is durable in the log."""

    def write(self, offset: int, data: bytes) -> None: ...
    def flush(self) -> object: ...


class VolumeFile(io.RawIOBase):
    """A volume of fixed size as a seekable raw file; wrap it in `io.BufferedRandom` or `io.BufferedReader`.

    Reading ends at the volume's end; writing past it writes what fits, as a block device does, and raises ``ENOSPC``
    when nothing does. ``flush`` of a writable file waits for the log. ``on_close`` is called once, when it is closed.
    """

    def __init__(
        self,
        volume: ReadableVolume,
        writable: WritableVolume | None = None,
        *,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__()
        self._volume, self._writable, self._on_close = volume, writable, on_close
        self._at = 0
        self.name = volume.name

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return self._writable is not None

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._check_open()
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._volume.size}[whence]
        if base + offset < 0:
            raise ValueError(f"negative seek position {base + offset}")
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        self._check_open()
        return self._at

    def readinto(self, buffer: "memoryview | bytearray") -> int:  # type: ignore[override]
        self._check_open()
        target = memoryview(buffer).cast("B")
        length = min(len(target), max(0, self._volume.size - self._at))
        if length:
            target[:length] = self._volume.read(self._at, length)
            self._at += length
        return length

    def write(self, data: "bytes | bytearray | memoryview") -> int:  # type: ignore[override]
        self._check_open()
        if self._writable is None:
            raise io.UnsupportedOperation("not writable")
        view = memoryview(data).cast("B")
        length = min(len(view), max(0, self._volume.size - self._at))
        if len(view) and not length:
            raise OSError(28, f"volume {self.name} ends at {self._volume.size}")  # ENOSPC
        if length:
            self._writable.write(self._at, bytes(view[:length]))
            self._at += length
        return length

    def close(self) -> None:
        if self.closed:
            return
        try:
            super().close()
        finally:
            self._on_close()

    def flush(self) -> None:
        super().flush()
        if self._writable is not None and not self.closed:
            self._writable.flush()

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")
