"""`tidelog volume restore` and `copy` from an archived copy: what differs is written through the log."""

import json

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
