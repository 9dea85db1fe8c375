"""What is done with an archived copy's data: a volume restored or copied from it, through the log; a clone of it."""

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.test_archive import SITES, archived, copied, folder
from tidelog.consumers.deployment import open_store
from tidelog.gateways.exports import archived as archived_module
from tidelog.gateways.exports import blocks
from tidelog.gateways.exports.archived import ArchivedCopy
from tidelog.stores.store import NOTHING, Moment, archive_base

__all__ = ("copied", "folder")


def test_a_volume_is_restored_from_the_archive(copied, deployment, folder, sites):
    """What differs is written through the log, at every site; done again nothing is written. Also onto another volume,
    whose rest becomes zeros; what does not fit is refused before anything is written or anybody fenced."""
    before = copied("pitc", "read", "one", "ledger", "-g", "bank").out
    archived(copied, deployment, folder)
    for name, size in (("test", "4MiB"), ("small", "8KiB")):
        assert copied("volume", "create", name, "-g", "bank", "--size", size).code == 0
    assert copied("volume", "write", "test", "-g", "bank", "--offset", "3MiB", stdin=b"old").code == 0
    for target, command, changed in (
        ("ledger", ("restore", "ledger"), {13, 14}),
        ("ledger", ("restore", "ledger"), {0}),
        ("test", ("copy", "ledger", "test"), {14, 15}),
    ):
        done = copied("volume", *command, "-g", "bank", "--pitc", "one", "--json")
        assert done.code == 0, done.err
        told = json.loads(done.out)
        assert (told["by"], told["target"], told["bitmap_bytes"]) == ("data", target, 0)
        assert told["blocks"] in changed and told["data_bytes"] == told["blocks"] * 4096
        for site in SITES:
            assert sites.site(site).group("bank").wait_until(told["sequence"])
            found = copied("volume", "read", target, "-g", "bank", "--site", site).out
            assert found[: len(before)] == before and not any(found[len(before) :])
    assert copied("volume", "restore", "ledger", "-g", "bank", "--pitc", "one").err.count("read from its archive") == 1
    end = copied("log", "show", "bank", "--json").out.count(b"\n")
    for refused, what in ((("copy", "ledger", "small"), "do not fit"), (("copy", "never", "test"), "never")):
        done = copied("volume", *refused, "-g", "bank", "--pitc", "one", "--take-over")
        assert done.code == 2 and what in done.err and "fenced" not in done.err
    for copy in ("never", "#99"):
        assert copied("volume", "restore", "ledger", "-g", "bank", "--pitc", copy).code == 2
    assert copied("log", "show", "bank", "--json").out.count(b"\n") == end, "a refused command leaves the log alone"


def test_a_clone_of_an_archived_copy(copied, deployment, folder, sites):
    """At any site, byte for byte, with the copy's digest, writable; in the library too; dropping it frees all of it."""
    before = copied("pitc", "read", "one", "ledger", "-g", "bank").out
    document = archived(copied, deployment, folder)
    keys = deployment.keyspace("osaka", "bank")
    empty = len(keys.data)
    made = copied("pitc", "clone", "one", "drill", "-g", "bank", "--site", "osaka", "--json")
    assert made.code == 0 and document["place"] in made.err
    told = json.loads(made.out)
    assert (told["pitc"], told["state"], told["seal"]) == ("one", "ready", document["seal"])
    assert "one (archived)" in copied("clone", "list", "-g", "bank", "--site", "osaka").text
    shown = json.loads(copied("clone", "show", "drill", "-g", "bank", "--site", "osaka", "--digest", "--json").out)
    assert shown["digest"] == document["digest"]
    assert copied("clone", "read", "drill", "ledger", "-g", "bank", "--site", "osaka").out == before
    assert copied("clone", "write", "drill", "ledger", "-g", "bank", "--site", "osaka", stdin=b"drilled").code == 0
    assert copied("pitc", "read", "one", "ledger", "-g", "bank").out == before
    again = copied("pitc", "clone", "one", "drill", "-g", "bank", "--site", "osaka")
    assert again.code == 2 and "there already" in again.err
    view = sites.site("london").group("bank").create_clone("one", "drill")
    assert view.volume("ledger").read(0, len(before)) == before
    assert copied("clone", "drop", "drill", "-g", "bank", "--site", "osaka").code == 0
    assert len(keys.data) == empty


@pytest.fixture
def in_parts(monkeypatch):
    """Archives of many files, read in parts of two blocks."""
    monkeypatch.setattr(blocks, "FILE_BYTES_MIN", 1)
    monkeypatch.setattr(blocks, "FILES", 1 << 40)
    monkeypatch.setattr("tidelog.stores.contents.WINDOW_BYTES", 8 * 4096)
    monkeypatch.setattr(archived_module, "PART_BYTES", 2 * 4096)


@pytest.mark.usefixtures("in_parts")
def test_a_damaged_archive_leaves_no_clone(copied, deployment, folder):
    """Neither one that has come half-way, nor its blocks."""
    document = archived(copied, deployment, folder)
    keys = deployment.keyspace("osaka", "bank")
    empty = len(keys.data)
    file = max(Path(document["place"]).glob("ledger.*.avro"))
    assert file.name > "ledger.0000.avro"
    content = bytearray(file.read_bytes())
    content[-20] ^= 1
    file.write_bytes(content)
    bad = copied("pitc", "clone", "one", "drill", "-g", "bank", "--site", "osaka")
    assert bad.code == 3 and file.name in bad.err and "tidelog pitc show one --group bank" in " ".join(bad.err.split())
    assert json.loads(copied("clone", "list", "-g", "bank", "--site", "osaka", "--json").out)["clones"] == []
    assert len(keys.data) == empty
    shutil.rmtree(document["place"])
    assert copied("pitc", "clone", "one", "drill", "-g", "bank").code == 3


@pytest.mark.usefixtures("in_parts")
def test_a_clone_that_is_cut_short(copied, deployment, folder, monkeypatch):
    """Shows as forming; the same command does it again; dropped in its place it leaves nothing."""
    before = copied("pitc", "read", "one", "ledger", "-g", "bank").out
    archived(copied, deployment, folder)
    keys = deployment.keyspace("osaka", "bank")
    empty, real = len(keys.data), ArchivedCopy.stream

    def cut(self, volume, copy, offset=0, length=None):
        parts = real(self, volume, copy, offset, length)
        for _ in range(5):
            yield next(parts)
        raise KeyboardInterrupt

    make = ("pitc", "clone", "one", "drill", "-g", "bank", "--site", "osaka")
    for ending in ("drop", "again"):
        with monkeypatch.context() as patched:
            patched.setattr(ArchivedCopy, "stream", cut)
            assert copied(*make).code == 130
        (shown,) = json.loads(copied("clone", "list", "-g", "bank", "--site", "osaka", "--json").out)["clones"]
        assert shown["state"] == "forming" and len(keys.data) > empty + 3
        if ending == "drop":
            assert copied("clone", "drop", "drill", "-g", "bank", "--site", "osaka").code == 0
            assert len(keys.data) == empty
    assert copied(*make).code == 0
    assert copied("clone", "read", "drill", "ledger", "-g", "bank", "--site", "osaka").out == before


def test_neither_takes_over_what_the_other_has_begun(copied, deployment, folder):
    """A clone that is filled from the log, and one that is from an archive, of one name and moment: what the one has
    written, or left out, is not what the other would go on from."""
    document = archived(copied, deployment, folder)
    store, moment = open_store(deployment, "osaka", "bank"), Moment(sequence=document["sequence"])
    commands = {
        NOTHING: ("pitc", "clone", "one", "drill", "-g", "bank", "--site", "osaka"),
        archive_base("one"): (
            "group",
            "materialise",
            "bank",
            "drill",
            "--site",
            "osaka",
            "--sequence",
            str(moment.sequence),
        ),
    }
    for base, command in commands.items():
        store.clones.begin(base, "drill", moment)
        refused = copied(*command)
        assert refused.code == 2 and "there already" in refused.err
        store.clones.drop("drill")
    store.close()
