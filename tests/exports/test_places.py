"""Where exports cannot go, and what is left there: nothing."""

import gc
import os
import resource
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fsspec
import pytest

from tidelog.errors import AlreadyExists, CopiesDiffer, ExportDamaged, NotFound, UsageError
from tidelog.gateways.exports import blocks, writing
from tidelog.gateways.exports.checking import check_export
from tidelog.gateways.exports.manifest import read_manifest
from tidelog.gateways.exports.place import new_place, place_of
from tidelog.testing.readiness import wait_until

NOBODY = 65534


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """What a full disk does, but with another number: writes beyond ``size`` fail."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_nothing(export, tmp_path: Path):
    with file_size_limit(1000), pytest.raises(OSError, match="too large"):
        export("two", str(tmp_path / "export"))
    assert list(tmp_path.iterdir()) == []
    export("two", str(tmp_path / "export"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody without permission")
def test_no_permission(export, tmp_path: Path):
    os.seteuid(NOBODY)
    try:
        with pytest.raises(PermissionError):
            export("two", str(tmp_path / "export"))
    finally:
        os.seteuid(0)
    assert list(tmp_path.iterdir()) == []


def test_nothing_that_is_there_is_touched(export, place_for):
    first = export("one", place_for("export"))
    with pytest.raises(AlreadyExists):
        export("two", place_for("export"))
    assert read_manifest(place_of(place_for("export"))) == first


def test_a_file_or_a_broken_link_is_something_too(export, tmp_path: Path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("file", "link"):
        with pytest.raises(AlreadyExists):
            export("two", str(tmp_path / name))
    with pytest.raises(UsageError, match="there is no folder"):
        export("two", str(tmp_path / "no" / "export"))


@pytest.mark.parametrize("url", ["", "memory://", "nosuch://bucket/x", "gcs://bucket/x"])
def test_places_that_cannot_be(url: str):
    """gcs is what an extra of fsspec's brings, which the tests do not install."""
    with pytest.raises(UsageError) as refused:
        place_of(url)
    assert refused.value.hint


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError("gone")])
def test_a_failure_elsewhere_leaves_nothing(error):
    url = f"memory://{uuid.uuid4().hex}/export"
    system = fsspec.filesystem("memory")

    def fail() -> None:
        with new_place(url) as place:
            with place.create("ledger.0000.avro") as file:
                file.write(b"some")
            assert system.exists(url)
            raise error

    with pytest.raises((KeyboardInterrupt, OSError)):
        fail()
    assert not system.exists(url)


def test_a_file_that_was_being_written_elsewhere_is_not_left(export, monkeypatch):
    """The proof of the first file fails while the third is open: closing it later would make it appear."""
    url = f"memory://{uuid.uuid4().hex}/export"
    monkeypatch.setattr(blocks, "FILE_BYTES_MIN", 1)
    monkeypatch.setattr(blocks, "FILES", 1 << 40)
    monkeypatch.setattr("tidelog.stores.contents.WINDOW_BYTES", 8 * 4096)

    def gone(*_: object) -> None:
        raise OSError("gone")

    monkeypatch.setattr(writing, "file_sum", gone)
    with pytest.raises(OSError, match="gone") as failed:
        export("one", url)
    assert not fsspec.filesystem("memory").exists(url)
    del failed
    gc.collect()
    assert not fsspec.filesystem("memory").exists(url)


def test_what_was_damaged_while_it_was_written_is_not_kept(export, tmp_path: Path, monkeypatch):
    """A bit that flips on the way to the disk is seen when the file is read again."""
    real = writing.write_blocks

    def harmed(place, *rest):
        for file in real(place, *rest):
            path = place.folder / file.name
            content = bytearray(path.read_bytes())
            content[-1] ^= 1
            path.write_bytes(content)
            yield file

    monkeypatch.setattr(writing, "write_blocks", harmed)
    with pytest.raises(ExportDamaged, match="ledger"):
        export("two", str(tmp_path / "export"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("since", [None, "one"])
def test_a_store_that_is_damaged_gives_no_export(store, export, tmp_path: Path, since):
    """Blocks that are not what the copy's digest says, also in an export of a part."""
    for name in ("one", "two"):
        store.digest(store.copy(name))
    ledger = store.copy("two").volume("ledger")
    key = store._keys.block_format(ledger.id) % 4  # written between one and two, and not since
    store._keyspace.transact([(b"SET", key, b"\x55" * 4096)])
    with pytest.raises(CopiesDiffer):
        export("two", str(tmp_path / "export"), since=since)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("since", [None, "one"])
def test_a_copy_that_is_dropped_meanwhile_is_exported_all_the_same(store, place_for, since):
    """It is hidden at once, stays until the export is done, and goes then; so does the copy that it is since."""
    copies = [store.copy(name) for name in ("two", since) if name is not None]
    digest, seen = store.digest(copies[0]), []

    def drop(_: int) -> None:
        for copy in copies:
            store.mark_dropping(copy)
        seen.append({copy.name for copy in store.copies()} & {"two", since})
        assert {copy.name for copy in copies} <= {copy.name for copy in store.copies(dropping=True)}

    place = place_of(place_for("export"))
    writing.write_export(store, copies[0], place.url, copies[1] if since else None, drop)
    manifest = read_manifest(place)
    assert manifest.pitc.digest == digest.hex() and seen and not any(seen)
    assert not check_export(place, manifest, lambda _: None).problems
    assert store.holds() == []
    gone = {copy.name for copy in copies}
    assert wait_until(lambda: not gone & {copy.name for copy in store.copies(dropping=True)}, timeout_s=30)


def test_a_copy_that_was_dropped_before_is_not_exported(store, tmp_path: Path):
    copy = store.copy("two")
    store.mark_dropping(copy)
    with pytest.raises(NotFound):
        writing.write_export(store, copy, str(tmp_path / "export"), None, lambda _: None)
    assert list(tmp_path.iterdir()) == []


def test_relative_places_are_where_the_user_is(export, tmp_path: Path, monkeypatch):
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "inner")
    export("two", "../outer")
    assert (tmp_path / "outer" / "manifest.json").exists()
