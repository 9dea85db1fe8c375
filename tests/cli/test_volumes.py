"""`tidelog volume`: bytes in, the same bytes out, sparse, and never of two points in time."""

import json
import os
from pathlib import Path

import pytest

from tidelog.gateways.cli import volume_export
from tidelog.testing.running import RunningDeployment

MIB = 1024 * 1024


def applied(sites: RunningDeployment, sequence: int) -> None:
    assert sites.site("tokyo").group("bank").wait_until(sequence)


def test_a_written_volume_reads_back(bank, sites):
    assert bank("volume", "write", "ledger", "-g", "bank", "--offset", "4KiB", stdin=b"hello").code == 0
    applied(sites, 4)
    read = bank("volume", "read", "ledger", "-g", "bank", "--offset", "4095", "--length", "7")
    assert (read.code, read.out) == (0, b"\0hello\0")
    assert "sequence" in read.err


def test_a_file_is_written_whole_or_not_at_all(bank, sites, tmp_path):
    data = tmp_path / "data"
    data.write_bytes(b"x" * (MIB + 1))
    refused = bank("volume", "write", "ledger", "-g", "bank", "--input", str(data))
    assert refused.code == 2 and "1048577 bytes" in refused.err
    data.write_bytes(os.urandom(MIB))
    written = bank("volume", "write", "ledger", "-g", "bank", "--input", str(data))
    assert written.code == 0
    applied(sites, int(written.err.rsplit("sequence ", 1)[1]))
    assert bank("volume", "read", "ledger", "-g", "bank").out == data.read_bytes()


def test_import_and_export_keep_bytes_and_holes(bank, tmp_path):
    image = tmp_path / "image"
    content = os.urandom(5000) + bytes(3 * MIB) + os.urandom(777)
    image.write_bytes(content)
    imported = bank("volume", "import", str(image), "disk", "-g", "bank", "--create")
    assert imported.code == 0
    assert bank("pitc", "create", "now", "-g", "bank", "--wait").code == 0
    for options in ([], ["--pitc", "now"], ["--site", "london"]):
        out = tmp_path / f"out{len(options)}{options[-1:]}"
        assert bank("volume", "export", "disk", str(out), "-g", "bank", *options).code == 0
        assert out.read_bytes() == content
        assert out.stat().st_blocks * 512 < MIB
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []


def test_import_over_old_data_makes_zeros_of_zeros(bank, tmp_path):
    assert bank("volume", "write", "ledger", "-g", "bank", stdin=b"\xff" * MIB).code == 0
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(MIB // 2)
        file.seek(8192)
        file.write(b"data")
    assert bank("volume", "import", str(image), "ledger", "-g", "bank").code == 0
    assert bank("pitc", "create", "now", "-g", "bank", "--wait").code == 0
    read = bank("volume", "read", "ledger", "-g", "bank", "--pitc", "now")
    assert read.out == image.read_bytes() + b"\xff" * (MIB // 2)


def test_a_file_larger_than_the_volume_is_refused(bank, tmp_path):
    image = tmp_path / "image"
    image.write_bytes(b"x" * (MIB + 1))
    refused = bank("volume", "import", str(image), "ledger", "-g", "bank")
    assert refused.code == 2 and "nothing was written" in refused.err


def test_export_overwrites_nothing(bank, tmp_path):
    there = tmp_path / "there"
    there.write_text("precious")
    assert bank("volume", "export", "ledger", str(there), "-g", "bank").code == 2
    assert there.read_text() == "precious"


@pytest.mark.parametrize("write", [b"changed", b""])
def test_a_live_export_of_two_points_in_time_is_not_kept(bank, sites, tmp_path, monkeypatch, write):
    """A write to the volume between two reads tears the file; a write elsewhere, or a heartbeat, does not."""
    monkeypatch.setattr(volume_export, "PART_BYTES", MIB // 2)
    reads = []

    def parts(self):
        for offset in (0, MIB // 2):
            data, head = self._store.read_live(self.volume, offset, MIB // 2)
            self.last = head.sequence
            reads.append(offset)
            yield data
            if offset == 0:
                group = sites.group("bank")
                volume = group.volume("ledger") if write else group.create_volume("other", MIB)
                volume.write(0, write or b"elsewhere")
                group.flush()
                assert sites.site("tokyo").group("bank").wait_until(group.session.confirmed.sequence)

    monkeypatch.setattr(volume_export._Live, "parts", parts)
    out = tmp_path / "out"
    result = bank("volume", "export", "ledger", str(out), "-g", "bank")
    assert reads == [0, MIB // 2]
    assert (result.code, out.exists()) == ((3, False) if write else (0, True))


def test_a_write_for_programs(bank):
    """How much of stdin it was, and where in the log it is."""
    written = bank("volume", "write", "ledger", "-g", "bank", "--offset", "4KiB", "--json", stdin=b"hello")
    told = json.loads(written.out)
    sequence = told.pop("sequence")
    assert told == {"version": 1, "group": "bank", "name": "ledger", "offset": 4096, "length": 5}
    assert json.loads(bank("volume", "show", "ledger", "-g", "bank", "--json").out)["sequence"] >= sequence > 2


def test_list_and_show(bank):
    listed = json.loads(bank("volume", "list", "-g", "bank", "--json").out)
    assert listed["version"] == 1
    assert listed["volumes"] == [{"name": "ledger", "id": 2, "size": MIB, "block_size": 4096}]
    assert "ledger" in bank("volume", "list", "-g", "bank").text
    shown = json.loads(bank("volume", "show", "ledger", "-g", "bank", "--json").out)
    assert (shown["name"], shown["size"]) == ("ledger", MIB)
    assert "1 MiB" in bank("volume", "show", "ledger", "-g", "bank").text


def test_creating_the_same_volume_again_changes_nothing(bank):
    same = bank("volume", "create", "ledger", "-g", "bank", "--size", "1MiB")
    assert same.code == 0 and "was there already" in same.err
    fresh = bank("volume", "create", "journal", "-g", "bank", "--size", "1MiB", "--json")
    assert json.loads(fresh.text)["created"] is True
    other = bank("volume", "create", "ledger", "-g", "bank", "--size", "2MiB")
    assert other.code == 2 and "exists" in other.err


def test_an_interrupted_export_leaves_nothing(bank, tmp_path, monkeypatch):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(volume_export, "write_sparse", interrupted)
    before = set(tmp_path.iterdir())
    result = bank("volume", "export", "ledger", str(tmp_path / "out"), "-g", "bank")
    assert (result.code, result.err.strip()) == (130, "interrupted")
    assert set(tmp_path.iterdir()) == before


def test_missing_folders_are_named(bank, tmp_path: Path):
    result = bank("volume", "export", "ledger", str(tmp_path / "no" / "out"), "-g", "bank")
    assert result.code == 2 and "there is no folder" in result.err
