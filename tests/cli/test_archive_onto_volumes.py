"""What is done with an archived copy's data: a volume restored or copied from it, through the log; a clone of it."""

import json
import shutil
from pathlib import Path

from tests.cli.test_archive import SITES, archived, copied, folder

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
    assert "archive" in copied("volume", "restore", "ledger", "-g", "bank", "--pitc", "one").err
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
    assert (told["state"], told["sequence"], told["seal"]) == ("ready", document["sequence"], document["seal"])
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


def test_a_damaged_archive_leaves_no_clone(copied, deployment, folder):
    """Neither one that has come half-way, nor its blocks."""
    document = archived(copied, deployment, folder)
    keys = deployment.keyspace("osaka", "bank")
    empty = len(keys.data)
    file = Path(document["place"]) / "ledger.0000.avro"
    content = bytearray(file.read_bytes())
    content[-20] ^= 1
    file.write_bytes(content)
    bad = copied("pitc", "clone", "one", "drill", "-g", "bank", "--site", "osaka")
    assert bad.code == 3 and "ledger.0000.avro" in bad.err
    assert json.loads(copied("clone", "list", "-g", "bank", "--site", "osaka", "--json").out)["clones"] == []
    assert len(keys.data) == empty
    shutil.rmtree(document["place"])
    assert copied("pitc", "clone", "one", "drill", "-g", "bank").code == 3
