"""An archive whose files are damaged is never read as something else; and little of it is kept in memory."""

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.exports.conftest import KIB, ignore
from tidelog.consumers.deployment import MemoryDeployment, open_store
from tidelog.errors import ExportDamaged
from tidelog.gateways.exports import archived, blocks
from tidelog.gateways.exports.archived import ArchivedCopy
from tidelog.gateways.exports.archiving import archive_copy
from tidelog.gateways.exports.manifest import read_manifest
from tidelog.gateways.exports.place import place_of
from tidelog.testing.running import RunningDeployment


@pytest.fixture(scope="module")
def many_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, bytes]]:
    """An export of one volume in many small files with gaps between them, and the volume's content."""
    deployment = MemoryDeployment()
    with RunningDeployment(deployment) as running, pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "FILE_BYTES_MIN", 4096)
        patch.setattr(blocks, "FILES", 1 << 40)
        patch.setattr("tidelog.stores.contents.WINDOW_BYTES", 4096)
        running.site("tokyo")
        group = running.group("bank")
        volume = group.create_volume("v", 512 * KIB, block_size=512)
        chance = random.Random(5)
        for _ in range(150):
            volume.write(chance.randrange(510 * KIB), chance.randbytes(chance.randrange(1, 1500)))
        group.mark("one").wait(["tokyo"], timeout=30)
        store = open_store(deployment, "tokyo", "bank")
        copy = store.copy("one")
        base = tmp_path_factory.mktemp("archive")
        record = archive_copy(store, copy, str(base), deployment.cluster.control, ignore, ("tokyo",))
        assert len(read_manifest(place_of(record.place)).files) > 20
        yield Path(record.place), store.read(copy.volumes[0], 0, copy.volumes[0].size, copy)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_damaged_file_is_never_read_as_something_else(
    many_files: tuple[Path, bytes], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Any byte of any file changed, any place read: the right bytes or `ExportDamaged`."""
    good, content = many_files
    place = tmp_path_factory.mktemp("harmed") / "export"
    shutil.copytree(good, place)
    files = sorted(path for path in place.iterdir() if path.suffix == ".avro")
    for _ in range(data.draw(st.integers(1, 3))):
        file = data.draw(st.sampled_from(files))
        changed = bytearray(file.read_bytes())
        at = data.draw(st.integers(0, len(changed) - 1))
        changed[at] ^= data.draw(st.integers(1, 255))
        file.write_bytes(changed)
    found = ArchivedCopy(place_of(str(place)), read_manifest(place_of(str(place))))
    (volume,) = found.copy.volumes
    for _ in range(5):
        offset = data.draw(st.integers(0, volume.size))
        length = data.draw(st.integers(0, min(20_000, volume.size - offset)))
        try:
            assert found.read(volume, offset, length) == content[offset : offset + length]
        except ExportDamaged:
            continue
    shutil.rmtree(place.parent)


def test_few_files_are_kept_in_memory(many_files: tuple[Path, bytes]) -> None:
    """However much is read; and a read in one place does not read every file."""
    good, content = many_files
    found = ArchivedCopy(place_of(str(good)), read_manifest(place_of(str(good))))
    (volume,) = found.copy.volumes
    of = found._volumes[volume.id]
    assert found.read(volume, 100_000, 512) == content[100_000:100_512]
    assert len(of._kept) <= archived.FILES_KEPT
    assert b"".join(found.stream(volume, found.copy)) == content
    assert len(of._kept) <= archived.FILES_KEPT
