"""`tidelog volume copy` and `restore`: a command in the log, carried out by every site."""

import json

from tidelog.consumers.access import open_group, open_site
from tidelog.producers import volume_copy

MIB = 1024 * 1024


def read(cli, name, site, *options):
    result = cli("volume", "read", name, "-g", "bank", "--site", site, "--length", "12", *options)
    assert result.code == 0
    return result.out


def test_copy_and_restore(bank, sites):
    assert bank("volume", "create", "test", "-g", "bank", "--size", "2MiB").code == 0
    assert bank("volume", "write", "ledger", "-g", "bank", stdin=b"first").code == 0
    assert bank("pitc", "create", "noon", "-g", "bank", "--wait").code == 0
    assert bank("volume", "write", "ledger", "-g", "bank", stdin=b"second").code == 0
    live = bank("volume", "copy", "ledger", "test", "-g", "bank", "--incremental")
    assert live.code == 0 and live.out == b"" and "1 blocks, 4 KiB" in live.err
    old = bank("volume", "copy", "ledger", "test", "-g", "bank", "--pitc", "noon", "--json")
    told = json.loads(old.text)
    assert (told["version"], told["blocks"], told["data_bytes"], told["pitc"]) == (1, 1, 4096, "noon")
    assert told["bitmap_bytes"] < 20
    back = json.loads(bank("volume", "restore", "ledger", "-g", "bank", "--pitc", "noon", "--json").text)
    assert (back["source"], back["target"], back["blocks"]) == ("ledger", "ledger", 1)
    for site in ("tokyo", "london"):
        assert sites.site(site).group("bank").wait_until(back["sequence"])
        assert read(bank, "test", site) == read(bank, "ledger", site) == b"first" + bytes(7)
    shown = bank("log", "show", "bank").text
    assert "ledger to test, bitmap of" in shown and "ledger at copy #" in shown
    assert bank("pitc", "create", "end", "-g", "bank", "--wait").code == 0


def test_what_does_not_fit(bank):
    for name, size, block_size in (("small", "64KiB", "4096"), ("coarse", "1MiB", "8192")):
        assert bank("volume", "create", name, "-g", "bank", "--size", size, "--block-size", block_size).code == 0
    small = bank("volume", "copy", "ledger", "small", "-g", "bank")
    assert small.code == 2 and "do not fit" in small.err and "hint: " in small.err
    coarse = bank("volume", "copy", "ledger", "coarse", "-g", "bank")
    assert coarse.code == 2 and "8192" in coarse.err


def test_without_the_primary_sites_worker(bank, sites, monkeypatch):
    monkeypatch.setattr(volume_copy, "READ_TIMEOUT", 0.05)
    assert bank("volume", "create", "test", "-g", "bank", "--size", "1MiB").code == 0
    sites.stop_site("tokyo")
    result = bank("volume", "copy", "ledger", "test", "-g", "bank")
    assert result.code == 3 and "tidelog site run tokyo" in result.err


def test_onto_a_volume_that_a_clone_and_an_open_volume_are_of(bank, sites, deployment, tmp_path):
    """Allowed: neither changes by it, nor does an export of their copy, also if the copy is dropped then."""
    assert bank("volume", "create", "test", "-g", "bank", "--size", "1MiB").code == 0
    assert bank("volume", "write", "test", "-g", "bank", stdin=b"others").code == 0
    assert bank("volume", "write", "ledger", "-g", "bank", stdin=b"first").code == 0
    assert bank("pitc", "create", "noon", "-g", "bank", "--wait").code == 0
    assert bank("pitc", "clone", "noon", "drill", "-g", "bank", "--site", "osaka").code == 0
    clone = ("drill", "ledger", "-g", "bank", "--site", "osaka")
    assert bank("clone", "write", *clone, "--offset", "5", stdin=b"+own").code == 0
    with (
        open_site("tokyo", deployment=deployment) as site,
        site.group("bank").copy("noon").volume("ledger").open() as held,
    ):
        copied = json.loads(bank("volume", "copy", "test", "ledger", "-g", "bank", "--json").text)
        for name in ("tokyo", "osaka"):
            assert sites.site(name).group("bank").wait_until(copied["sequence"])
            assert read(bank, "ledger", name) == b"others" + bytes(6)
        place = tmp_path / "noon"
        assert bank("pitc", "export", "noon", "-g", "bank", "--site", "tokyo", "--to", str(place)).code == 0
        restored = json.loads(bank("volume", "restore", "ledger", "-g", "bank", "--pitc", "noon", "--json").text)
        assert sites.site("osaka").group("bank").wait_until(restored["sequence"])
        assert read(bank, "ledger", "osaka") == b"first" + bytes(7)
        with open_group("bank", deployment=deployment) as group:
            group.drop_copy("noon")
            group.copy_volume("test", "ledger")
            group.mark("end").wait(["tokyo", "osaka"])
        assert held.read(12) == b"first" + bytes(7)
    assert bank("clone", "read", *clone, "--length", "12").out == b"first+own" + bytes(3)
    assert bank("export", "verify", str(place)).code == 0
