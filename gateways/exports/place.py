"""Where an export stands: a folder on any file system that fsspec knows."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from tidelog.errors import AlreadyExists, UsageError
from tidelog.gateways.extras import installation
from tidelog.gateways.files import new_folder

_LOCAL = ("file", "local")


class Place:
    """A folder of files. ``url`` is as the user gave it, for messages. OSErrors are those of its file system."""

    def __init__(self, url: str, path: str, system: Any = None) -> None:
        """``system`` is fsspec's; None for a folder of this machine."""
        self.url = url
        self._path = path
        self._system = system
        self._made: list[str] = []

    @property
    def folder(self) -> Path | None:
        """The folder, if it is one of this machine."""
        return Path(self._path) if self._system is None else None

    def open(self, name: str) -> BinaryIO:
        """A file for reading. Raises `FileNotFoundError`."""
        if self._system is None:
            return (Path(self._path) / name).open("rb")
        return cast("BinaryIO", self._system.open(self._join(name), "rb"))

    @contextmanager
    def create(self, name: str) -> Iterator[BinaryIO]:
        """A new file, written at the end; on this machine it is on disk when it is `sync`-ed."""
        self._made.append(name)
        if self._system is not None:
            with self._system.open(self._join(name), "wb") as file:
                yield file
            return
        with (Path(self._path) / name).open("xb") as file:
            yield file

    def sync(self, name: str) -> None:
        """Returns when a file of this machine is on disk; elsewhere one that is closed is there."""
        if self._system is None:
            with (Path(self._path) / name).open("rb") as file:
                os.fsync(file.fileno())

    def exists(self) -> bool:
        """Whether anything is there."""
        if self._system is None:
            return os.path.lexists(self._path)
        return bool(self._system.exists(self._path))

    def discard(self) -> None:
        """Removes the files that were created here, the newest first, as far as the file system lets it."""
        for name in reversed(self._made):
            try:
                self._system.rm(self._join(name))
            except OSError:
                continue  # it was never begun, or the system is out of reach: without a manifest it is no export

    def _join(self, name: str) -> str:
        return f"{self._path.rstrip('/')}/{name}"


def place_of(url: str) -> Place:
    """The place that a path or URL names; nothing is looked at yet.

    Raises `UsageError` for a protocol that is not known or whose package is not installed.
    """
    protocol, separator, rest = url.partition("://")
    if not url or (separator and not rest):
        raise UsageError(f"{url!r} names no place", hint="give a folder, or a URL such as s3://bucket/folder")
    if not separator:
        return Place(url, url)
    import fsspec  # here, so that commands without a place do not wait for it

    try:
        system, path = fsspec.url_to_fs(url)
    except ImportError as error:
        raise UsageError(
            f"{protocol}:// needs a package that is not installed: {error}",
            hint=installation("s3")
            if protocol in ("s3", "s3a")
            else f"install fsspec's extra for it: pip install 'fsspec[{protocol}]'",
        ) from error
    except ValueError as error:
        raise UsageError(f"{url}: {error}", hint="fsspec's protocols are those that can be used") from error
    return Place(url, path) if protocol in _LOCAL else Place(url, path, system)


@contextmanager
def new_place(url: str) -> Iterator[Place]:
    """A place to write to, where nothing may be yet. If the body fails, nothing is left there.

    On this machine all is written under a temporary name beside it, and gets its name when it is on disk. Elsewhere
    files appear as they are written; whoever writes puts the manifest last. Raises `AlreadyExists`, `UsageError`.
    """
    place = place_of(url)
    if place.exists():
        raise AlreadyExists(f"{url} exists", hint="name a place that is not there yet")
    if place.folder is not None:
        with new_folder(place.folder) as work:
            yield Place(url, str(work))
        return
    try:
        yield place
    except BaseException:
        place.discard()
        raise
