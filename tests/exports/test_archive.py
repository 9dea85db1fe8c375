"""Copies in an archive: whole and verified before anything is dropped, read from there as before, never wrong bytes."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.exports.conftest import ignore
from tidelog.consumers.archives import find_archive
from tidelog.consumers.catalogue import Answer, alarms_of, copies_of
from tidelog.consumers.deployment import MemoryDeployment, open_store
from tidelog.errors import CopiesDiffer, ExportDamaged, NotFound, OutOfBounds, UsageError
from tidelog.gateways.exports import archiving, blocks
from tidelog.gateways.exports.archived import ArchivedCopy, open_archive, verify_archive
from tidelog.gateways.exports.archiving import archive_copy
from tidelog.producers.archived import archives_of
from tidelog.producers.group import Group
from tidelog.schemas.control import CopyArchived, CopyFormed, GroupCreated
from tidelog.stores.image import Store
from tidelog.testing.readiness import wait_until
from tidelog.testing.running import RunningDeployment


@pytest.fixture
def archive(store: Store, deployment: MemoryDeployment) -> Callable[[str, str], CopyArchived]:
    """``archive("two", base)``: exported, verified, told; still in the store."""

    def make(name: str, base: str) -> CopyArchived:
        return archive_copy(store, store.copy(name), base, deployment.cluster.control, ignore, ("tokyo",))

    return make


def same_bytes(store: Store, name: str, found: ArchivedCopy) -> None:
    """Every volume, whole and in pieces that begin and end anywhere."""
    copy = store.copy(name)
    assert found.copy.volumes == copy.volumes and found.digest(found.copy) == store.digest(copy)
    chance = random.Random(1)
    for volume in copy.volumes:
        whole = store.read(volume, 0, volume.size, copy)
        assert b"".join(found.stream(volume, copy)) == whole
        for _ in range(40):
            offset = chance.randrange(volume.size + 1)
            length = chance.randrange(volume.size - offset + 1)
            assert found.read(volume, offset, length) == whole[offset : offset + length]
        assert found.volume_digest(volume, copy) == store.volume_digest(volume, copy)


@pytest.mark.parametrize("file_bytes", [64 << 20, 8192])
def test_what_is_read_from_an_archive_is_the_copy(
    archive: Callable[[str, str], CopyArchived],
    store: Store,
    place_for: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
    file_bytes: int,
) -> None:
    """On each kind of file system; with one file a volume, and with many."""
    monkeypatch.setattr(blocks, "FILE_BYTES_MIN", file_bytes)
    monkeypatch.setattr(blocks, "FILES", 1 << 40)
    monkeypatch.setattr("tidelog.stores.contents.WINDOW_BYTES", 8 * 4096)
    base = place_for("").rstrip("/")
    for name in ("one", "two", "three"):
        record = archive(name, base)
        assert record.place.startswith(base if "://" in base else str(Path(base)))
        same_bytes(store, name, verify_archive(record, ignore))


def test_bounds_and_strangers(archive: Callable[[str, str], CopyArchived], store: Store, tmp_path: Path) -> None:
    """As a store refuses them."""
    found = open_archive(archive("two", str(tmp_path)))
    ledger, late = store.copy("two").volume("ledger"), store.copy("two").volume("late")
    assert ledger is not None and late is not None
    for offset, length in ((-1, 5), (0, ledger.size + 1), (ledger.size + 1, 0), (5, -1)):
        with pytest.raises(OutOfBounds):
            found.read(ledger, offset, length)
    assert found.read(ledger, ledger.size, 0) == b""
    gone = store.copy("one").volume("gone")
    assert gone is not None
    with pytest.raises(NotFound, match="no volume gone"):
        found.read(gone, 0, 1)
    with pytest.raises(NotFound, match="not the one"):
        found.digest(store.copy("one"))


def test_the_library_reads_from_either_place(
    archive: Callable[[str, str], CopyArchived], group: Group, running: RunningDeployment, tmp_path: Path
) -> None:
    """The same call, with the copy in Redis and when it is dropped; the archive's digest is the copy's."""
    site = running.site("tokyo").group(group.name)
    view = site.copy("two")
    before = view.volume("ledger").read(5000, 20_000), view.digest(), view.volume("ledger").digest()
    archive("two", str(tmp_path))
    group.drop_copy("two")
    assert wait_until(lambda: "two" not in {copy.name for copy in site.copies()}, timeout_s=20)
    away = site.copy("two")
    assert (away.volume("ledger").read(5000, 20_000), away.digest(), away.volume("ledger").digest()) == before
    with away.volume("ledger").open() as file:
        file.seek(5000)
        assert file.read(100) == before[0][:100]
    with pytest.raises(UsageError, match="archived"):
        site.copy("three").diff(away)
    with pytest.raises(NotFound):
        site.copy("never")


def test_the_catalogue_shows_where_it_is(
    archive: Callable[[str, str], CopyArchived],
    group: Group,
    running: RunningDeployment,
    deployment: MemoryDeployment,
    tmp_path: Path,
) -> None:
    """In Redis, in both, in the archive; the other site has dropped it. Another digest is an alarm."""
    control = deployment.cluster.control
    osaka = running.site("osaka")
    running.wait_for_store("osaka", group.name)

    def answers() -> dict[str, Answer]:
        (found,) = [copy for copy in copies_of(control.snapshot(), "bank", ("tokyo", "osaka")) if copy.name == "two"]
        return found.answers

    both = {"tokyo": Answer.FORMED, "osaka": Answer.FORMED}
    assert wait_until(lambda: answers() == both, timeout_s=20)
    record = archive("two", str(tmp_path))
    assert answers() == both and archives_of(control.snapshot(), "bank") == [record]
    group.drop_copy("two")
    assert wait_until(lambda: answers() == {"tokyo": Answer.ARCHIVED, "osaka": Answer.DROPPED}, timeout_s=20)
    (found,) = [copy for copy in copies_of(control.snapshot(), "bank", ("tokyo", "osaka")) if copy.name == "two"]
    assert found.equal is True and not found.missing and not alarms_of([found])
    three = archive("three", str(tmp_path))
    control.publish(three.model_copy(update={"digest": b"\xee" * 16}))
    (alarm,) = alarms_of(copies_of(control.snapshot(), "bank", ("tokyo", "osaka")))
    assert "the archive of tokyo" in alarm and "--full" in alarm
    assert osaka.group("bank").copy("one").name == "one"


def test_of_several_archives_the_sites_own() -> None:
    """And of several copies of one name the newest."""

    def record(site: str, sequence: int) -> CopyArchived:
        return CopyArchived(
            site=site,
            group="bank",
            group_id="id",
            sequence=sequence,
            seal=b"s" * 16,
            name="one",
            timestamp_us=sequence,
            digest=b"d" * 16,
            place="/there",
            archived_us=1,
        )

    created = GroupCreated(group="bank", group_id="id", topic="t", keyed=False, created_us=1)
    earlier = record("london", 99).model_copy(update={"group_id": "another"})  # of a group that is there no more
    records = (created, record("tokyo", 5), record("osaka", 5), record("tokyo", 9), earlier)
    view = {one.key: one for one in records}
    assert find_archive(view, "bank", "one") == record("tokyo", 9)
    assert find_archive(view, "bank", "one", "osaka") == record("tokyo", 9)
    assert find_archive(view, "bank", "#5", "osaka") == record("osaka", 5)
    assert find_archive(view, "bank", "#5", "paris") in (record("tokyo", 5), record("osaka", 5))
    assert find_archive(view, "bank", "two") is None and find_archive(view, "orders", "one") is None


def test_run_again_it_is_the_same_export(
    archive: Callable[[str, str], CopyArchived], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the export and the drop, or before it was told: what is there and whole is not written again."""
    first = archive("two", str(tmp_path))

    def never(*_: object) -> None:
        raise AssertionError("written again")

    monkeypatch.setattr(archiving, "write_export", never)
    again = archive("two", str(tmp_path))
    assert again.place == first.place and again.digest == first.digest


@pytest.mark.parametrize("harm", ["no manifest", "a flipped bit", "another copy"])
def test_what_is_there_and_not_whole_is_left_alone(
    archive: Callable[[str, str], CopyArchived], store: Store, tmp_path: Path, harm: str
) -> None:
    """Another place is taken, and nothing that exists is overwritten."""
    first = archive("two", str(tmp_path))
    folder = Path(first.place)
    if harm == "no manifest":
        (folder / "manifest.json").unlink()
    elif harm == "a flipped bit":
        content = bytearray((folder / "ledger.0000.avro").read_bytes())
        content[len(content) // 2] ^= 1
        (folder / "ledger.0000.avro").write_bytes(content)
    else:
        other = archive("three", str(tmp_path))
        shutil.rmtree(folder)
        shutil.copytree(other.place, folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    second = archive("two", str(tmp_path))
    assert second.place == first.place + ".2"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    same_bytes(store, "two", verify_archive(second, ignore))


def test_an_export_that_does_not_verify_is_not_told(
    archive: Callable[[str, str], CopyArchived],
    deployment: MemoryDeployment,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A place that does not keep what is written: an error, no record, and the store still has the copy."""
    write = archiving.write_export

    def torn(store: Store, copy: object, url: str, *rest: object) -> object:
        made = write(store, copy, url, *rest)  # type: ignore[arg-type]
        with (Path(url) / "ledger.0000.avro").open("r+b") as file:
            file.truncate(1000)
        return made

    monkeypatch.setattr(archiving, "write_export", torn)
    with pytest.raises(ExportDamaged, match=r"ledger\.0000\.avro"):
        archive("two", str(tmp_path))
    assert archives_of(deployment.cluster.control.snapshot(), "bank") == []
    assert open_store(deployment, "tokyo", "bank").copy("two")


def test_a_missing_base(archive: Callable[[str, str], CopyArchived], tmp_path: Path) -> None:
    """A folder that is not mounted is not made."""
    with pytest.raises(UsageError, match="no folder"):
        archive("two", str(tmp_path / "nothing"))


def test_an_archive_that_is_gone_or_another(
    archive: Callable[[str, str], CopyArchived], tmp_path: Path, store: Store
) -> None:
    """Said so, by name and place."""
    record, other = archive("two", str(tmp_path)), archive("three", str(tmp_path))
    with pytest.raises(ExportDamaged, match="is not copy two"):
        open_archive(record.model_copy(update={"place": other.place}))
    shutil.rmtree(record.place)
    with pytest.raises(ExportDamaged, match=r"archive of copy two .* is not at") as gone:
        open_archive(record)
    assert "tokyo" in gone.value.hint and store.copy("two")


def test_a_copy_that_another_site_has_otherwise_is_not_archived(
    store: Store, deployment: MemoryDeployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a receipt before the export, by one that comes while it is written; and not on this site's word alone."""
    control, copy = deployment.cluster.control, store.copy("two")
    assert wait_until(lambda: receipts(deployment, "two"), timeout_s=20)
    (own,) = receipts(deployment, "two")

    def attempt(*sites: str) -> CopyArchived:
        return archive_copy(store, copy, str(tmp_path), control, ignore, sites)

    with pytest.raises(UsageError, match="osaka, london have not told") as alone:
        attempt("tokyo", "osaka", "london")
    assert "tidelog pitc list -g bank" in alone.value.hint
    wrong = own.model_copy(update={"site": "osaka", "digest": b"x" * 16})
    control.publish(wrong)
    for sites in (("tokyo", "osaka", "london"), ("tokyo",)):
        with pytest.raises(CopiesDiffer, match=rf"{own.digest.hex()} at tokyo.*osaka {(b'x' * 16).hex()}"):
            attempt(*sites)
    assert list(tmp_path.iterdir()) == []
    control.publish(own.model_copy(update={"site": "osaka"}))
    write = archiving.write_export

    def meanwhile(*arguments: object) -> object:
        control.publish(wrong)
        return write(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(archiving, "write_export", meanwhile)
    with pytest.raises(CopiesDiffer):
        attempt("tokyo", "osaka", "london")
    monkeypatch.setattr(archiving, "write_export", write)
    assert archives_of(control.snapshot(), "bank") == []
    control.publish(own.model_copy(update={"site": "osaka"}))
    # Another copy at the same place in the log is none of its business.
    control.publish(wrong.model_copy(update={"name": "by-time"}))
    assert attempt("tokyo", "osaka", "london").digest == own.digest


def receipts(deployment: MemoryDeployment, name: str) -> list[CopyFormed]:
    records = deployment.cluster.control.snapshot().values()
    return [record for record in records if isinstance(record, CopyFormed) and record.name == name]
